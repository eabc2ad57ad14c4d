// RedisClients: connections to one Redis server, a thread each while they work. Thread-compatible.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

struct redisContext;

namespace reprise::bench {

class RedisClients {
 public:
  // `count` connections to the server at the Unix socket `path`. kUnavailable with the cause.
  static absl::StatusOr<std::unique_ptr<RedisClients>> Connect(const std::string& path, int count);
  ~RedisClients();

  // SETs value i, a `value_bytes` long piece of `values`, under key i, for all of them. BLOCKS.
  absl::Status Set(absl::string_view values, size_t value_bytes);
  // GETs the same; each value comes to lie in memory of the client. kDataLoss: a value is missing,
  // or not as long or not with the first byte that it has in `values`. BLOCKS.
  absl::Status Get(absl::string_view values, size_t value_bytes);

 private:
  struct Close {
    void operator()(redisContext* connection) const;
  };
  using Connection = std::unique_ptr<redisContext, Close>;

  RedisClients() = default;
  // Calls `work` for 0 to `count` - 1, each with a connection that nobody else uses meanwhile.
  absl::Status ForEach(int64_t count, absl::FunctionRef<absl::Status(redisContext*, int64_t)> work);

  std::vector<Connection> connections_;
};

}  // namespace reprise::bench
