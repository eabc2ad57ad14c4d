// The 4 KiB header before every payload on disk: says which block the slot holds, so that a payload
// that is torn, swapped, stale or rotten is recognised before a byte of it is used.
//
// All integers little endian:
//     0  magic "RPRSLOT1"        48  root.hi, root.lo
//     8  format version (u32)    64  payload bytes
//    12  codec (u32), 0 = raw    72  payload XXH3-64
//    16  key.hi, key.lo          80  sequence
//    32  parent.hi, parent.lo    88  piece bytes (slot_pieces.h)
//    96  XXH3-64 of each piece, then zeros
//  4088  XXH3-64 of bytes [0, 4088)
// Version 1 has zeros from 88 on: its payload is one piece. Pure functions.
#pragma once

#include <cstddef>
#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "cachestore/block/block_key.h"
#include "cachestore/tier/slot_pieces.h"

namespace reprise::cachestore {

inline constexpr uint64_t kSlotHeaderBytes = 4096;
inline constexpr uint32_t kSlotHeaderVersion = 2;

// What a slot says about the block in it. The payload is stored raw, without a codec.
struct SlotHeader {
  BlockKey key;
  BlockKey parent;
  BlockKey root;
  uint64_t payload_bytes = 0;
  uint64_t payload_hash = 0;  // XXH3-64 of the payload, without padding
  uint64_t sequence = 0;
};

// Writes the header's bytes. REQUIRES: out.size() == kSlotHeaderBytes; `pieces` cover the payload.
void EncodeSlotHeader(const SlotHeader& header, const SlotPieces& pieces,
                      absl::Span<std::byte> out);

// What the pieces of the payload must be, when `bytes` is a whole header, of this or an earlier
// version, and says what `expected` says; otherwise kDataLoss, naming the first field that differs
// and both values. REQUIRES: bytes.size() == kSlotHeaderBytes.
absl::StatusOr<SlotPieces> CheckSlotHeader(absl::Span<const std::byte> bytes,
                                           const SlotHeader& expected);

}  // namespace reprise::cachestore
