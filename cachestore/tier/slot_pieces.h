// The pieces of a payload on disk: each has a checksum of its own in the slot's header, so that the
// first layers of a block can be used while the later ones are still being read. Pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"

namespace reprise::cachestore {

inline constexpr size_t kMaxSlotPieces = 8;

// Bytes of each piece but the last, which has the rest: an eighth of the payload in multiples of 4
// KiB, and at least 64 KiB, because shorter reads cost more than they bring forward.
uint64_t SlotPieceBytes(uint64_t payload_bytes);

// The checksums of a payload's pieces. Piece i is bytes [i x piece_bytes, (i + 1) x piece_bytes) of
// the payload, as far as it goes.
struct SlotPieces {
  uint64_t piece_bytes = 0;      // a multiple of 4 KiB, unless there is one piece alone
  std::vector<uint64_t> hashes;  // XXH3-64 of each; at most kMaxSlotPieces
};

struct HashedPayload {
  uint64_t hash = 0;  // XXH3-64 of the whole payload
  SlotPieces pieces;
};
// Hashes `payload` and its pieces of SlotPieceBytes(), in one reading of it: where the whole is
// what it should be, so is every piece, even while somebody changes the bytes.
HashedPayload HashSlotPayload(absl::Span<const std::byte> payload);

// How many leading bytes of the payload are whole pieces, of its first `arrived` bytes.
uint64_t WholePieceBytes(const SlotPieces& pieces, uint64_t payload_bytes, uint64_t arrived);

// Verifies the pieces of `payload` within bytes [begin, end), where pieces begin and end.
// kDataLoss names the first one that differs.
absl::Status CheckSlotPieces(const SlotPieces& pieces, absl::Span<const std::byte> payload,
                             uint64_t begin, uint64_t end);

}  // namespace reprise::cachestore
