// ServeOptions: everything `reprise serve` takes, from flags and a config file. Plain data.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "api/auth/guard.h"
#include "api/cli/flag_set.h"
#include "api/listen_address.h"
#include "api/log/call_log.h"
#include "cachestore/store/store_options.h"
#include "engine/engine_options.h"

namespace reprise::api {

// What the model is computed on.
enum class ComputeDevice { kCpu, kCuda };

struct ServeOptions {
  std::string listen = "127.0.0.1:50051";
  // Where clients on this host get the RAM tier's memory. Empty: beside the Unix socket that is
  // listened on, if it is one, as "/path.arena".
  std::string arena_socket;
  bool allow_insecure_remote = false;  // listen where other machines can connect, for anybody
  GuardOptions guard;
  LogOptions log;
  std::string record_file;             // where requests are recorded; empty: nowhere
  std::string admin_listen;            // empty: the Admin service is not offered
  std::string http_listen;             // empty: no HTTP
  std::string http_host;               // names that HTTP is asked for by, with commas between
  double shutdown_grace_seconds = 10;  // how long running calls may go on after SIGTERM
  ComputeDevice device = ComputeDevice::kCpu;
  int64_t gpu_bytes = int64_t{1} << 30;       // of the GPU for KV blocks; counts with kCuda
  std::optional<cachestore::DType> kv_dtype;  // not given: fp32 on a CPU, bf16 on a GPU
  cachestore::StoreOptions store;
  engine::EngineOptions engine;  // model_folder empty: the Cache service alone

  // The names of http_host, in lower case.
  std::vector<std::string> HttpHosts() const;

  // Checks everything that can be checked without opening anything. kInvalidArgument names the
  // flag, its value and what is allowed.
  absl::Status Validate() const;

  // The same, with `store` and `engine` told of the three above. What store and engine are opened
  // with.
  ServeOptions ForDevice() const;
};

// `status` of loading the model; where the GPU has no memory left for it, with what to change: the
// blocks' part of it was taken before.
absl::Status OfModelMemory(const absl::Status& status, const ServeOptions& options);

// Adds the flags that fill `options`, and --config. `options` must outlive `flags`.
void AddServeFlags(FlagSet& flags, ServeOptions* options);

}  // namespace reprise::api
