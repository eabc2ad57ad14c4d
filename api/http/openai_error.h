// What is wrong with a call, as OpenAI's API says it: a status code of HTTP and
//
//   {"error": {"message": ..., "type": ..., "param": ... or null, "code": ... or null}}
//
// Pure functions, thread-safe.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "api/http/http_message.h"

namespace reprise::api {

// `status`, which is not OK, saying that parameter `param` of the request is to blame; `code` may
// be empty.
absl::Status WithParam(absl::Status status, absl::string_view param, absl::string_view code = "");
// kInvalidArgument for `param`.
absl::Status ParamError(absl::string_view param, absl::string_view message,
                        absl::string_view code = "");

// The code of HTTP that stands for `status`.
int HttpStatusOf(const absl::Status& status);
// The JSON object above.
std::string OpenAiErrorJson(const absl::Status& status);
// The whole answer. Who may try again is told when (Retry-After).
HttpResponse OpenAiErrorResponse(const absl::Status& status);
// The same with another code of HTTP.
HttpResponse OpenAiErrorResponse(int http_status, const absl::Status& status);

}  // namespace reprise::api
