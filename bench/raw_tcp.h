// RawTcp: the loopback interface itself, the limit of what a service on it can do: one connection
// to a thread that sends, takes in or echoes bytes. Owns the thread. Thread-compatible.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <thread>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace reprise::bench {

class RawTcp {
 public:
  // `memory` is what the other side sends from and takes in to. kUnavailable with the cause.
  static absl::StatusOr<std::unique_ptr<RawTcp>> Connect(absl::Span<std::byte> memory);
  ~RawTcp();
  RawTcp(const RawTcp&) = delete;
  RawTcp& operator=(const RawTcp&) = delete;

  // Each BLOCKS; kUnavailable: the connection broke.
  // Fills `to` with as many bytes of the other side's memory.
  absl::Status Get(absl::Span<std::byte> to);
  // The reverse; the other side has them when it returns.
  absl::Status Put(absl::Span<const std::byte> from);
  // Sends `request_bytes` and waits for `response_bytes`; both at most as long as the memory.
  absl::Status RoundTrip(size_t request_bytes, size_t response_bytes);

 private:
  RawTcp(int client, int server, absl::Span<std::byte> memory)
      : client_(client), server_(server), memory_(memory) {}
  absl::Status Command(uint64_t in, uint64_t out);
  void Serve();

  const int client_;
  const int server_;
  const absl::Span<std::byte> memory_;
  std::thread thread_;
};

}  // namespace reprise::bench
