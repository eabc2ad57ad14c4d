#include "api/http/id_headers.h"

namespace reprise::api {

RequestIds IdsOf(const HttpRequest& request) {
  return MakeRequestIds(request.Header(kRequestIdHeader), request.Header(kTraceParentHeader));
}

void Echo(const RequestIds& ids, HttpResponse* response) {
  response->headers.emplace_back("X-Request-Id", ids.request_id);
  if (!ids.trace_parent.empty()) response->headers.emplace_back("traceparent", ids.trace_parent);
}

}  // namespace reprise::api
