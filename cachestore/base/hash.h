// XXH3: the only includers of xxHash are hash.cc, for keys, and payload_hash.cc, for payloads. Pure
// functions, thread-safe. Values are persisted: they are those of the XXH3 specification (xxHash
// 0.8), the same on every machine.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/types/span.h"

namespace reprise::cachestore {

struct Hash128 {
  uint64_t hi = 0;
  uint64_t lo = 0;
  friend bool operator==(const Hash128&, const Hash128&) = default;
};

// XXH3-128 of `bytes`, seed 0.
Hash128 HashBytes128(absl::Span<const std::byte> bytes);

// A chain of XXH3-128: links[i] is the hash of links[i - 1] (hi, lo; `parent` for the first)
// followed by the i-th `link_bytes` bytes of `bytes`, which holds as many as `links` asks for. A
// link waits for the one before it, so it is kept in registers on the way.
void HashChain128(const Hash128& parent, absl::Span<const std::byte> bytes, size_t link_bytes,
                  absl::Span<Hash128> links);

// XXH3-64 of `bytes`, seed 0.
uint64_t HashBytes64(absl::Span<const std::byte> bytes);

// XXH3-64 of `bytes`, and in `pieces` of each `piece_bytes` of them (the last has the rest). Reads
// the memory once, into the CPU's cache, where both are taken: so they are of the same bytes even
// while somebody changes them. REQUIRES: piece_bytes > 0.
uint64_t HashWithPieces64(absl::Span<const std::byte> bytes, size_t piece_bytes,
                          std::vector<uint64_t>* pieces);

// Copies `from` to `to` (as long, not overlapping) and returns the XXH3-64 of the bytes, for less
// than the price of both: each piece is hashed while the copy has it in the CPU's cache.
uint64_t CopyAndHash64(absl::Span<const std::byte> from, std::byte* to);

// The XXH3-64 of bytes that come in pieces. Thread-compatible.
class StreamHash64 {
 public:
  StreamHash64();

  // The next bytes.
  void Add(absl::Span<const std::byte> bytes);
  // The same, copied to `to` (as long, not overlapping) as CopyAndHash64 does.
  void AddCopy(absl::Span<const std::byte> from, std::byte* to);
  // Of all bytes so far.
  uint64_t hash() const;

 private:
  static constexpr size_t kStateBytes = 576;  // as large and aligned as xxHash's state
  alignas(64) std::byte state_[kStateBytes];
};

}  // namespace reprise::cachestore
