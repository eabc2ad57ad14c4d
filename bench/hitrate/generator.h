// Traces made up for those who have none: not what anybody's traffic is, only of its shape. Pure
// functions; the same seed gives the same trace.
//
//   chat    sessions of a few turns that come at random; half of them have one turn only. A fifth
//           begins with one of a few system prompts. Turns follow after minutes.
//   agent   few sessions of many turns, with contexts that grow from one system prompt to 100,000
//           tokens; tool calls come back within seconds, people after minutes, or never. Some turns
//           take back the end of the context; some start side agents of a few turns.
//
// The last block of a prompt that is not full is a block of its own, of no use to the next turn.
#pragma once

#include <cstdint>

#include "cachestore/trace/trace.h"

namespace reprise::bench {

enum class TraceKind { kChat, kAgent };

// With at least one request.
cachestore::Trace GenerateTrace(TraceKind kind, uint64_t seed, int64_t num_requests);

}  // namespace reprise::bench
