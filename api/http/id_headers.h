// The ids of a request in HTTP's headers. Pure functions, thread-safe.
#pragma once

#include "api/http/http_message.h"
#include "api/log/request_ids.h"

namespace reprise::api {

// The ids that `request` carries, or that are made up for it.
RequestIds IdsOf(const HttpRequest& request);

// Adds the ids to the headers of `response`.
void Echo(const RequestIds& ids, HttpResponse* response);

}  // namespace reprise::api
