// Limits of the HTTP listener, checked before anything is allocated for a request. Plain data.
#pragma once

#include <cstddef>
#include <cstdint>

#include "absl/time/time.h"

namespace reprise::api {

struct HttpLimits {
  // Connections at once; one more is answered 503 and closed.
  size_t connections = 1024;
  // Request line and headers of one request.
  uint32_t header_bytes = 32 << 10;
  // Body of one request, and of all requests that are being read or worked on.
  int64_t body_bytes = int64_t{16} << 20;
  int64_t bodies_bytes = int64_t{256} << 20;
  // What waits for a client that reads a stream more slowly than it is written; more cuts it off.
  // As much again may be under way to it, and what the system's socket buffer holds.
  size_t unsent_bytes = 512 << 10;

  // How long a client may take for each phase; then it is cut off.
  absl::Duration idle_time = absl::Seconds(75);    // between requests
  absl::Duration header_time = absl::Seconds(10);  // from the first to the last header byte
  // For a body or a piece of an answer: so long, and the time of its bytes at this rate.
  absl::Duration transfer_time = absl::Seconds(30);
  int64_t bytes_per_second = 128 << 10;

  size_t workers = 2;  // threads that parse requests and tokenize prompts
};

// Of an answer that is not streamed.
inline constexpr size_t kMaxHttpAnswerBytes = 16 << 20;
// Prompts of one call, and answers to all of them.
inline constexpr size_t kMaxHttpPrompts = 64;
inline constexpr size_t kMaxHttpChoices = 128;

}  // namespace reprise::api
