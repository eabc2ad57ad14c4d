#include "api/serve_options.h"

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "cachestore/base/status_macros.h"

namespace reprise::api {

namespace {

// Whether nobody can come in over `address` who ought not to. `flag` is what gave it.
absl::Status CheckListen(absl::string_view flag, const std::string& text,
                         const ServeOptions& options) {
  const absl::StatusOr<ListenAddress> parsed = ParseListenAddress(text);
  if (!parsed.ok()) {
    return absl::InvalidArgumentError(absl::StrCat(flag, ": ", parsed.status().message()));
  }
  const ListenAddress& address = *parsed;
  const GuardOptions& guard = options.guard;
  const bool encrypted = !guard.tls.certificate.empty();
  const bool asks = !guard.tls.client_ca.empty() || !guard.credentials_file.empty();
  if (address.IsLocal() || (encrypted && asks)) return absl::OkStatus();
  if (!encrypted && !guard.credentials_file.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(flag, " ", text,
                     " can be reached from other machines, and tokens would cross the network for "
                     "all to read; give --tls-cert and --tls-key"));
  }
  if (options.allow_insecure_remote) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      flag, " ", text, " can be reached from other machines, and there is ",
      encrypted ? "no" : "neither encryption nor",
      " authentication: anybody on the network could read and write cached conversations; listen "
      "on 127.0.0.1 or a Unix socket, or give --tls-cert and --tls-key with --credentials or "
      "--tls-client-ca, or --allow-insecure-remote if the network is trusted"));
}

// `status` of options that flags have filled, with the flags' names.
absl::Status OfFlags(const absl::Status& status) {
  return {status.code(), absl::StrReplaceAll(status.message(),
                                             {{"store option ram.capacity_bytes", "--ram-bytes"},
                                              {"store option gpu.capacity_bytes", "--gpu-bytes"},
                                              {"store option disk.capacity_bytes", "--disk-bytes"},
                                              {"block_tokens", "--block-tokens"},
                                              {"step_tokens", "--step-tokens"},
                                              {"max_running", "--max-running"},
                                              {"max_waiting", "--max-waiting"},
                                              {"num_threads", "--threads"}})};
}

}  // namespace

std::vector<std::string> ServeOptions::HttpHosts() const {
  return absl::StrSplit(absl::AsciiStrToLower(http_host), absl::ByAnyChar(", "), absl::SkipEmpty());
}

absl::Status ServeOptions::Validate() const {
  RETURN_IF_ERROR(CheckListen("--listen", listen, *this));
  if (!admin_listen.empty()) RETURN_IF_ERROR(CheckListen("--admin-listen", admin_listen, *this));
  if (!http_listen.empty()) RETURN_IF_ERROR(CheckListen("--http-listen", http_listen, *this));
  for (const std::string& host : HttpHosts()) {
    if (host.find_first_of("/[]*@") == std::string::npos &&
        std::count(host.begin(), host.end(), ':') != 1) {
      continue;
    }
    return absl::InvalidArgumentError(absl::StrCat(
        "--http-host ", host, " is not a name or an address alone, without scheme and port"));
  }
  if (device == ComputeDevice::kCuda && gpu_bytes == 0) {
    return absl::InvalidArgumentError(
        "--gpu-bytes is 0; a model that is computed on a GPU needs its KV blocks there");
  }
  RETURN_IF_ERROR(OfFlags(store.Validate()));
  if (engine.model_folder.empty()) return absl::OkStatus();
  return OfFlags(engine.Validate());
}

ServeOptions ServeOptions::ForDevice() const {
  using cachestore::DType;
  const bool on_gpu = device == ComputeDevice::kCuda;
  ServeOptions options = *this;
  options.store.gpu.capacity_bytes = on_gpu ? gpu_bytes : 0;
  // A GPU computes by formats of 16 bits; its kernel for fp32 is a slow one.
  options.engine.kv_dtype = kv_dtype.value_or(on_gpu ? DType::kBF16 : DType::kF32);
  return options;
}

absl::Status OfModelMemory(const absl::Status& status, const ServeOptions& options) {
  if (options.device != ComputeDevice::kCuda || !absl::IsResourceExhausted(status)) return status;
  return absl::ResourceExhaustedError(absl::StrCat(
      status.message(), "; --gpu-bytes ", options.gpu_bytes,
      " are the blocks' already: give fewer, so that weights and activations fit beside them"));
}

namespace {

void AddAccessFlags(FlagSet& flags, ServeOptions* options) {
  GuardOptions& guard = options->guard;
  flags.Add("credentials", &guard.credentials_file, "FILE",
            "who may call: tokens, certificates, tenants and their limits (api/README.md); mode "
            "0600; without it whoever can connect may do everything");
  flags.Add("tls-cert", &guard.tls.certificate, "FILE",
            "certificate in PEM, with its chain: TCP listeners speak TLS then");
  flags.Add("tls-key", &guard.tls.key, "FILE", "its key in PEM; mode 0600");
  flags.Add("tls-client-ca", &guard.tls.client_ca, "FILE",
            "authority in PEM that every client's certificate must come from");
  flags.Need("tls-cert", "tls-key");
  flags.Need("tls-key", "tls-cert");
  flags.Need("tls-client-ca", "tls-cert");
  flags.Add("audit-log", &guard.audit_log, "FILE",
            "appends a line of JSON for every Admin call, demotion, invalidation, export, import, "
            "reload and refused credential");
  flags.Add("admin-listen", &options->admin_listen, "ADDR",
            "where the Admin service listens; without it there is none");
  flags.AddSwitch("allow-insecure-remote", &options->allow_insecure_remote,
                  "allow addresses that other machines can reach although anybody who connects may "
                  "do everything");
}

void AddLogFlags(FlagSet& flags, LogOptions* log) {
  flags.AddChoice(
      "log-format", {"text", "json"}, "text",
      [log](const std::string& name) {
        log->format = name == "json" ? LogFormat::kJson : LogFormat::kText;
      },
      "how calls are logged on stderr: name=value, or a JSON object a line");
  flags.AddChoice(
      "log-level", {"debug", "info", "off"}, "info",
      [log](const std::string& name) {
        log->level = name == "debug"  ? LogLevel::kDebug
                     : name == "info" ? LogLevel::kInfo
                                      : LogLevel::kOff;
      },
      "which calls are logged: debug: all; info: those that failed or took more than a second to "
      "the first answer; off: none");
}

}  // namespace

void AddServeFlags(FlagSet& flags, ServeOptions* options) {
  flags.AddConfigFile();
  flags.Add("model", &options->engine.model_folder, "DIR",
            "Hugging Face model folder to serve; without it only the Cache service is offered, for "
            "other engines");
  flags.Add("listen", &options->listen, "ADDR",
            "where to listen: HOST:PORT (port 0: any free one) or unix:/path");
  flags.Add("http-listen", &options->http_listen, "ADDR",
            "where to offer OpenAI's API, /metrics, /healthz and /readyz over HTTP; without it "
            "nowhere");
  flags.Add("http-host", &options->http_host, "NAMES",
            "names that clients of HTTP know this server by, with commas between: those of a proxy "
            "before it. Who asks for another one than these and this machine's own is refused, but "
            "for /healthz and /readyz, as pages of other hosts are. Not set: any name where "
            "credentials are asked for");
  flags.Need("http-host", "http-listen");
  flags.Add("arena-socket", &options->arena_socket, "PATH",
            "Unix socket where clients of this user on this host get the RAM tier's memory; with "
            "--listen unix:/path it is /path.arena by itself, else none");
  AddAccessFlags(flags, options);
  AddLogFlags(flags, &options->log);
  flags.Add("record", &options->record_file, "FILE",
            "records the stream of requests into this new file (FILE.1, FILE.2 ... where it is "
            "there), as numbers, lengths and times (KTR1, gzip): no tokens, text or keys; "
            "`reprise bench hitrate` replays it");
  flags.Add(
      "shutdown-grace", &options->shutdown_grace_seconds, "SECONDS",
      "how long running calls may go on after SIGTERM before they end with UNAVAILABLE; RAM's "
      "blocks are written to disk after that");
  flags.AtLeast("shutdown-grace", 0);
  flags.AddChoice(
      "device", {"cpu", "cuda"}, "cpu",
      [options](const std::string& name) {
        options->device = name == "cuda" ? ComputeDevice::kCuda : ComputeDevice::kCpu;
      },
      "what the model is computed on: cpu, or cuda, the machine's first GPU, where KV blocks live "
      "then too");
  flags.AddBytes("gpu-bytes", &options->gpu_bytes,
                 "memory of the GPU for KV blocks, reserved at start");
  flags.Need("gpu-bytes", "device");
  flags.ExcludeValue("gpu-bytes", "device", "cpu");
  flags.AddBytes("ram-bytes", &options->store.ram.capacity_bytes,
                 "RAM for KV blocks, reserved at start");
  flags.Add("disk-dir", &options->store.disk.directory, "DIR",
            "folder of the disk tier, made when missing; without it blocks live in RAM alone");
  flags.AddBytes("disk-bytes", &options->store.disk.capacity_bytes, "disk space for KV blocks");
  flags.AddChoice(
      "disk-admission", {"all", "useful", "likely"}, "all",
      [options](const std::string& name) {
        using cachestore::DiskAdmission;
        options->store.disk.admission = name == "useful"   ? DiskAdmission::kUseful
                                        : name == "likely" ? DiskAdmission::kLikely
                                                           : DiskAdmission::kAll;
      },
      "which blocks are written to disk when RAM gives them up: all; once it is full, useful ones "
      "only: none that nobody asked for again and that would push out a block used later; or those "
      "that are likely to be asked for again, as learned while serving: fewer writes, a few hits "
      "less");
  for (const char* of_disk : {"disk-bytes", "disk-admission"}) flags.Need(of_disk, "disk-dir");
  flags.AddChoice(
      "eviction", {"reuse", "lru"}, "reuse",
      [options](const std::string& name) {
        options->store.eviction =
            name == "lru" ? cachestore::EvictionOrder::kLru : cachestore::EvictionOrder::kReuse;
      },
      "which blocks are given up first: those worth the least to keep, as learned while serving, "
      "or those used the longest ago");
  flags.Add("block-tokens", &options->engine.block_tokens, "N",
            "tokens per KV block of the served model: a power of two from 8 to 256");
  std::vector<std::string> dtypes;
  for (const cachestore::DType dtype : cachestore::kAllDTypes) {
    dtypes.emplace_back(cachestore::DTypeName(dtype));
  }
  flags.AddChoice(
      "kv-dtype", dtypes, "fp32; with --device cuda bf16",
      [options](const std::string& name) { options->kv_dtype = *cachestore::DTypeFromName(name); },
      absl::StrCat("what keys and values are kept as: ", absl::StrJoin(dtypes, ", "),
                   "; all but fp32 are rounded, and requests that demand exact KV are refused"));
  flags.Add("step-tokens", &options->engine.step_tokens, "N",
            "most tokens computed in one step; longer prompts are cut into chunks");
  flags.Add("max-running", &options->engine.max_running, "N", "requests computed at once");
  flags.Add("max-waiting", &options->engine.max_waiting, "N",
            "requests queued, each sample as one; more are refused");
  flags.Add("threads", &options->engine.num_threads, "N", "compute threads; 0: one per core");
  flags.ExcludeValue("threads", "device", "cuda");
  // Without a model they would change nothing, and whoever gave them expects that they do.
  for (const char* of_engine : {"device", "block-tokens", "kv-dtype", "step-tokens", "max-running",
                                "max-waiting", "threads"}) {
    flags.Need(of_engine, "model");
  }
}

}  // namespace reprise::api
