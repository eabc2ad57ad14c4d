#include "api/http/openai_error.h"

#include <algorithm>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "api/auth/rate_limiter.h"

namespace reprise::api {
namespace {

constexpr absl::string_view kParam = "reprise/openai.param";
constexpr absl::string_view kCode = "reprise/openai.code";

nlohmann::ordered_json PayloadOf(const absl::Status& status, absl::string_view name) {
  const auto payload = status.GetPayload(name);
  if (!payload.has_value()) return nullptr;
  return std::string(*payload);
}

// Where no more exact one was given.
const char* CodeOf(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kUnauthenticated:
      return "invalid_api_key";
    case absl::StatusCode::kPermissionDenied:
      return "permission_denied";
    case absl::StatusCode::kResourceExhausted:
      return "rate_limit_exceeded";
    case absl::StatusCode::kUnavailable:
      return "unavailable";
    default:
      return nullptr;
  }
}

const char* TypeOf(int http_status) {
  if (http_status == 401) return "authentication_error";
  if (http_status == 403) return "permission_error";
  if (http_status == 429) return "rate_limit_error";
  return http_status < 500 ? "invalid_request_error" : "server_error";
}

}  // namespace

absl::Status WithParam(absl::Status status, absl::string_view param, absl::string_view code) {
  status.SetPayload(kParam, absl::Cord(param));
  if (!code.empty()) status.SetPayload(kCode, absl::Cord(code));
  return status;
}

absl::Status ParamError(absl::string_view param, absl::string_view message,
                        absl::string_view code) {
  return WithParam(absl::InvalidArgumentError(message), param, code);
}

int HttpStatusOf(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kOutOfRange:
      return 400;
    case absl::StatusCode::kUnauthenticated:
      return 401;
    case absl::StatusCode::kPermissionDenied:
      return 403;
    case absl::StatusCode::kNotFound:
      return 404;
    case absl::StatusCode::kResourceExhausted:
      return 429;
    case absl::StatusCode::kUnimplemented:
      return 501;
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kCancelled:
      return 503;
    case absl::StatusCode::kDeadlineExceeded:
      return 504;
    default:
      return 500;
  }
}

std::string OpenAiErrorJson(const absl::Status& status) {
  nlohmann::ordered_json error;
  error["message"] = std::string(status.message());
  error["type"] = TypeOf(HttpStatusOf(status));
  error["param"] = PayloadOf(status, kParam);
  error["code"] = PayloadOf(status, kCode);
  if (error["code"].is_null() && CodeOf(status) != nullptr) error["code"] = CodeOf(status);
  // A message may repeat what the client sent.
  return nlohmann::ordered_json{{"error", std::move(error)}}.dump(
      -1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

HttpResponse OpenAiErrorResponse(const absl::Status& status) {
  HttpResponse response;
  response.status = HttpStatusOf(status);
  if (response.status == 429 || response.status == 503) {
    const absl::Duration wait = RetryAfter(status);
    const int64_t seconds = absl::ToInt64Seconds(absl::Ceil(wait, absl::Seconds(1)));
    response.headers.emplace_back("Retry-After", absl::StrCat(std::max<int64_t>(seconds, 1)));
  }
  response.body = OpenAiErrorJson(status);
  return response;
}

HttpResponse OpenAiErrorResponse(int http_status, const absl::Status& status) {
  HttpResponse response = OpenAiErrorResponse(status);
  response.status = http_status;
  return response;
}

}  // namespace reprise::api
