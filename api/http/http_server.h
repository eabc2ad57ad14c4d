// HttpServer: HTTP/1.1 on one address, by Boost.Beast, in TLS or not. One thread of its own reads
// and writes all connections; workers run the handler. Bounded in connections, bytes and time
// (HttpLimits). Thread-safe.
#pragma once

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "api/auth/tls_identity.h"
#include "api/http/http_limits.h"
#include "api/http/http_message.h"
#include "api/listen_address.h"

namespace reprise::api {

class HttpServer {
 public:
  // Starts listening. `handler` and `tls` must outlive the server; without `tls`, and on a Unix
  // socket, what goes over it is not encrypted. kUnavailable: the address is taken, or not this
  // machine's. BLOCKS to resolve a host name.
  static absl::StatusOr<std::unique_ptr<HttpServer>> Start(const ListenAddress& listen,
                                                           HttpHandler* handler,
                                                           const HttpLimits& limits = {},
                                                           const TlsIdentity* tls = nullptr);
  // Shuts down without grace.
  ~HttpServer();

  // Where it listens, with the real port.
  const ListenAddress& address() const;
  int64_t num_connections() const;

  // From now on a connection ends with its answer. New ones are still taken, for probes.
  void Drain();
  // Lets running answers go on until `deadline`, then cuts them off and stops. Replies that others
  // still hold are dead from then on. BLOCKS.
  void Shutdown(absl::Time deadline);

 private:
  class Impl;
  explicit HttpServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace reprise::api
