// RequestIds: how a request is known in logs and traces, here and at its caller. Plain data, made
// by pure functions.
#pragma once

#include <cstddef>
#include <string>

#include "absl/strings/string_view.h"

namespace reprise::api {

// The headers that carry them, in HTTP and as metadata of gRPC.
inline constexpr absl::string_view kRequestIdHeader = "x-request-id";
inline constexpr absl::string_view kTraceParentHeader = "traceparent";
// Of either value; the client chooses them.
inline constexpr size_t kMaxRequestIdBytes = 128;

struct RequestIds {
  std::string request_id;    // the client's, or one made up
  std::string trace_parent;  // W3C Trace Context; empty: none, or not a valid one

  // The trace's 32 hex digits; empty without a trace_parent.
  absl::string_view trace_id() const;
};

// The ids of a request with these headers (empty: none). An id that is longer than
// kMaxRequestIdBytes, or has other characters than letters, digits and -_.:/+=, is replaced: it
// would forge lines of a log.
RequestIds MakeRequestIds(absl::string_view request_id, absl::string_view trace_parent);

// 32 random hex digits.
std::string RandomRequestId();

}  // namespace reprise::api
