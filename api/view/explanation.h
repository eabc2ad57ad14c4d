// Why a prompt hits or misses, as a message with a sentence for people. Pure.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/time/time.h"
#include "cachestore/store/explanation.h"
#include "reprise/v1/cache.pb.h"

namespace reprise::api {

namespace v1 = ::reprise::v1;

// Of `blocks` of a prompt, each of `block_tokens` tokens, at time `now`.
v1::ExplainResponse ToProto(const std::vector<cachestore::ExplainedBlock>& blocks,
                            int64_t block_tokens, absl::Time now);

}  // namespace reprise::api
