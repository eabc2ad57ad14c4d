// BrowserPolicy: what pages in a browser may not do with the server in the name of whoever opened
// them. Where no credential is asked for, being able to connect is all that lets somebody in, and a
// browser on this machine can: so a page must come from a host that the server goes by (Origin),
// the server must be asked by such a name (Host: another site's name may be made to stand for this
// machine's address, "DNS rebinding"), and a body must be of a kind that a form cannot send.
// Immutable after construction; thread-safe.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "api/http/http_message.h"

namespace reprise::api {

class BrowserPolicy {
 public:
  // `hosts`: names that the server goes by besides this machine's own, in lower case.
  // `checks_host`: whether it must be asked by one of these.
  BrowserPolicy(std::vector<std::string> hosts, bool checks_host)
      : hosts_(std::move(hosts)), checks_host_(checks_host) {}

  // What a request is refused with, in OpenAI's shape: 421 (Host), 403 (Origin), 415. Empty: it is
  // not.
  std::optional<HttpResponse> Refusal(const HttpRequest& request) const;

 private:
  // Of "NAME", "NAME:PORT", "ADDRESS", "[IPV6]:PORT".
  bool IsOwn(absl::string_view host) const;

  const std::vector<std::string> hosts_;
  const bool checks_host_;
};

}  // namespace reprise::api
