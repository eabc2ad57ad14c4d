// BlockRecord: what the index holds of one stored block, and its bytes.
//
// Key: key.hi, key.lo, big endian, so that records iterate in key order.
// Value, little endian:
//     0  record version (u32)    40  payload bytes
//     4  number of tokens (u32)  48  payload XXH3-64
//     8  parent.hi, parent.lo    56  sequence
//    24  root.hi, root.lo        64  file id (u32), 68 slot (u32)
//    72  token ids (u32 each)
// Pure functions and plain data.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "cachestore/block/block_key.h"

namespace reprise::cachestore {

inline constexpr uint32_t kBlockRecordVersion = 1;
inline constexpr size_t kIndexKeyBytes = 16;
inline constexpr uint64_t kMaxPayloadBytes = uint64_t{1} << 40;
inline constexpr uint32_t kMaxFileId = uint32_t{1} << 31;
inline constexpr uint64_t kMaxSequence = uint64_t{1} << 62;

// A place for one block: slot number `slot` of payload file number `file_id`.
struct SlotAddress {
  uint32_t file_id = 0;
  uint32_t slot = 0;
  friend bool operator==(const SlotAddress&, const SlotAddress&) = default;
  template <typename H>
  friend H AbslHashValue(H h, const SlotAddress& a) {
    return H::combine(std::move(h), a.file_id, a.slot);
  }
};

struct BlockRecord {
  BlockKey parent;
  BlockKey root;
  uint64_t payload_bytes = 0;
  uint64_t payload_hash = 0;
  uint64_t sequence = 0;
  SlotAddress address;
};

std::string EncodeIndexKey(const BlockKey& key);
// REQUIRES: bytes.size() == kIndexKeyBytes.
BlockKey DecodeIndexKey(absl::string_view bytes);

std::string EncodeBlockRecord(const BlockRecord& record, absl::Span<const TokenId> tokens);
// kDataLoss names the version, size or value that cannot be. Values are bounded, so that slot sizes
// and the next file id and sequence can be computed from any record that is OK.
absl::StatusOr<BlockRecord> DecodeBlockRecord(absl::string_view bytes);
// The token ids of an encoded record. REQUIRES: DecodeBlockRecord(bytes) is OK.
void DecodeRecordTokens(absl::string_view bytes, std::vector<TokenId>* tokens);

}  // namespace reprise::cachestore
