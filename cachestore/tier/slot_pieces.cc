#include "cachestore/tier/slot_pieces.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "cachestore/base/check.h"
#include "cachestore/base/hash.h"
#include "cachestore/tier/block_file.h"

namespace reprise::cachestore {
namespace {

constexpr uint64_t kMinPieceBytes = uint64_t{64} << 10;

}  // namespace

uint64_t SlotPieceBytes(uint64_t payload_bytes) {
  const uint64_t share = (payload_bytes + kMaxSlotPieces - 1) / kMaxSlotPieces;
  return std::max(kMinPieceBytes, AlignUp(share));
}

HashedPayload HashSlotPayload(absl::Span<const std::byte> payload) {
  HashedPayload hashed;
  hashed.pieces.piece_bytes = SlotPieceBytes(payload.size());
  hashed.hash = HashWithPieces64(payload, hashed.pieces.piece_bytes, &hashed.pieces.hashes);
  return hashed;
}

uint64_t WholePieceBytes(const SlotPieces& pieces, uint64_t payload_bytes, uint64_t arrived) {
  if (arrived >= payload_bytes) return payload_bytes;
  return arrived / pieces.piece_bytes * pieces.piece_bytes;
}

absl::Status CheckSlotPieces(const SlotPieces& pieces, absl::Span<const std::byte> payload,
                             uint64_t begin, uint64_t end) {
  CHECK(end <= payload.size());
  for (uint64_t at = begin; at < end; at += pieces.piece_bytes) {
    const absl::Span<const std::byte> piece = payload.subspan(at, pieces.piece_bytes);
    const uint64_t hash = HashBytes64(piece);
    const uint64_t expected = pieces.hashes[at / pieces.piece_bytes];
    if (hash == expected) continue;
    return absl::DataLossError(absl::StrCat("payload checksum of bytes ", at, " to ",
                                            at + piece.size() - 1, " is ", absl::Hex(hash),
                                            ", expected ", absl::Hex(expected)));
  }
  return absl::OkStatus();
}

}  // namespace reprise::cachestore
