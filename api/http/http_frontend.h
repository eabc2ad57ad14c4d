// HttpFrontend: what `reprise serve` offers over HTTP: OpenAI's API, /metrics, /healthz and
// /readyz. It listens before the store has recovered, so that /healthz answers from the start and
// /readyz says when the rest does. Owns its server; not the parts it serves. Thread-safe.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "api/auth/guard.h"
#include "api/listen_address.h"
#include "api/log/call_log.h"
#include "api/server.h"

namespace reprise::api {

class HttpFrontend {
 public:
  // Starts listening; not ready. `guard` and `log` must outlive the frontend. No guard: nobody has
  // to show a credential, and there is no TLS; no log: calls are not logged. `hosts`: names that it
  // goes by besides this machine's own (BrowserPolicy). Errors as HttpServer::Start.
  static absl::StatusOr<std::unique_ptr<HttpFrontend>> Start(
      const ListenAddress& listen, Guard* guard, CallLog* log = nullptr,
      const std::vector<std::string>& hosts = {});
  // Shuts down without grace.
  ~HttpFrontend();

  const ListenAddress& address() const;

  // `parts` are there, and `server`, of whose sessions /metrics tells; both outlive Shutdown.
  // Called once.
  void SetReady(const ServedParts& parts, const Server& server);
  // No new calls, and /readyz says so; running ones go on.
  void Drain();
  // Drain, then lets running calls go on until `deadline` and cancels what is left. BLOCKS.
  void Shutdown(absl::Time deadline);

 private:
  class Impl;
  explicit HttpFrontend(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace reprise::api
