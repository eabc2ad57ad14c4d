#include "api/http/browser_policy.h"

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "api/http/openai_error.h"
#include "api/limits.h"
#include "api/listen_address.h"

namespace reprise::api {

bool BrowserPolicy::IsOwn(absl::string_view host) const {
  std::string text = absl::AsciiStrToLower(host);
  if (!absl::StrContains(text, ':') || absl::EndsWith(text, "]")) text += ":80";
  const absl::StatusOr<ListenAddress> address = ParseListenAddress(text);
  if (!address.ok() || !address->unix_path.empty()) return false;
  return address->IsLocal() ||
         std::find(hosts_.begin(), hosts_.end(), address->host) != hosts_.end();
}

std::optional<HttpResponse> BrowserPolicy::Refusal(const HttpRequest& request) const {
  const auto host = request.headers.find("host");
  if (checks_host_ && host != request.headers.end() && !IsOwn(host->second)) {
    return OpenAiErrorResponse(
        421, absl::InvalidArgumentError(absl::StrCat(
                 "this server is not asked for by the name ", host->second.substr(0, kMaxEchoBytes),
                 " (header Host); --http-host lists those it goes by besides localhost")));
  }
  absl::string_view origin = request.Header("origin");
  if (!origin.empty()) {
    if (!absl::ConsumePrefix(&origin, "http://")) absl::ConsumePrefix(&origin, "https://");
    if (!IsOwn(origin)) {
      return OpenAiErrorResponse(403, absl::PermissionDeniedError(
                                          "pages of other origins are not served (header Origin)"));
    }
  }
  const absl::string_view type = request.Header("content-type");
  if (request.method != "POST" || absl::StartsWithIgnoreCase(type, "application/json")) {
    return std::nullopt;
  }
  return OpenAiErrorResponse(415,
                             absl::InvalidArgumentError("Content-Type must be application/json"));
}

}  // namespace reprise::api
