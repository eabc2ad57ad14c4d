// RequestIds: how a request is known in logs and traces, here and at its caller. Plain data, made
// by a pure function.
#pragma once

#include <string>

#include "api/http/http_message.h"

namespace reprise::api {

struct RequestIds {
  std::string request_id;    // X-Request-Id, or one made up
  std::string trace_parent;  // traceparent (W3C Trace Context); empty: none, or not a valid one
};

// The ids that `request` carries. An X-Request-Id that is longer than kMaxRequestIdBytes, or has
// other characters than letters, digits and -_.:/+=, is replaced: it would forge lines of a log.
RequestIds IdsOf(const HttpRequest& request);

// 32 random hex digits.
std::string RandomRequestId();

// Adds the ids to the headers of `response`.
void Echo(const RequestIds& ids, HttpResponse* response);

}  // namespace reprise::api
