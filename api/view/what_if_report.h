// What other sizes of RAM and disk would have made of the requests, as a message.
#pragma once

#include "api/auth/principal.h"
#include "cachestore/store/what_if.h"
#include "reprise/v1/cache.pb.h"

namespace reprise::api {

namespace v1 = ::reprise::v1;

// Of the tenants that `principal` may see; with `all` of every one, and of all together.
// `prefill_tokens_per_second`: how fast the served model computes prompts; 0: not known.
v1::WhatIfResponse WhatIfOf(const cachestore::WhatIfReport& report, const Principal& principal,
                            bool all, int64_t prefill_tokens_per_second);

}  // namespace reprise::api
