// Limits of one call, checked before anything is allocated for it.
#pragma once

#include <cstdint>

#include "absl/time/time.h"

namespace reprise::api {

// Largest message that is received: the largest block (16 MiB), the tokens of a full-length prefix,
// and room for the rest.
inline constexpr int kMaxMessageBytes = 24 << 20;
// Most token ids in one request.
inline constexpr int64_t kMaxRequestTokens = int64_t{1} << 20;
// Most text that is tokenized for one request.
inline constexpr int64_t kMaxTextBytes = int64_t{4} << 20;
// Most stop token ids of one request: each is compared with every token.
inline constexpr int kMaxStopTokens = 1024;
// Most namespaces that clients may open in one server process.
inline constexpr int64_t kMaxOpenNamespaces = 4096;
// Calls of the Cache service at once; each has a thread. More are answered RESOURCE_EXHAUSTED.
inline constexpr int kMaxCacheCalls = 64;
// How long a Put or Get may take when the client sets no earlier deadline. It bounds how long a
// client that has stopped reading or writing can hold pins.
inline constexpr absl::Duration kMaxStreamTime = absl::Minutes(10);
// How long Put waits for RAM to become free for one block.
inline constexpr absl::Duration kMaxRoomWait = absl::Seconds(2);
// Chunks that wait for a client that reads more slowly than tokens come. The connection's flow
// control window holds some 4,000 more before they come to wait here.
inline constexpr int64_t kMaxUnsentChunks = 1024;

}  // namespace reprise::api
