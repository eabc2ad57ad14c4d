// KvLayout: the shape and byte order of one KV block.
//
// A block is one contiguous extent holding block_tokens consecutive tokens of all layers:
//
//     [layer][K, V] part:   [kv_head][token][head_dim]   elements of `dtype`, little endian
//                           [kv_head][token][scale]      bf16; only where `scales` says so
//
// Layer first, so that a block can arrive layer by layer; head before token, so that attention
// reads one head's keys as one run; the scales behind the elements, so that these stay aligned. The
// bytes of each element: cachestore/README.md. Sizes are 64-bit everywhere. Immutable value type.
#pragma once

#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace reprise::cachestore {

// Element type of KV bytes. Values are persisted in namespace identities: never renumber.
enum class DType : uint8_t {
  kF32 = 1,
  kF16 = 2,
  kBF16 = 3,
  kF8E4M3 = 4,
  kInt8 = 5,
  kInt4 = 6,
};

// All of them, most bits first.
inline constexpr DType kAllDTypes[] = {DType::kF32,    DType::kF16,  DType::kBF16,
                                       DType::kF8E4M3, DType::kInt8, DType::kInt4};

// "fp32", "fp16", "bf16", "fp8", "int8", "int4".
absl::string_view DTypeName(DType dtype);
// The inverse of DTypeName. kInvalidArgument lists the known names.
absl::StatusOr<DType> DTypeFromName(absl::string_view name);
// Bits per element (int4: 4).
int DTypeBits(DType dtype);

// Where the scales of integer elements lie. Not persisted by itself: kv_scales in the namespace
// identity names it.
enum class KvScales : uint8_t {
  kOutside,  // not in the block: there are none, or the one who reads the block knows them
  kPerRow,   // int8: one for the head_dim elements of a token and kv head
  kPer32,    // int4: one for every 32 of these elements, and one for what is left
};

// What kv_scales says for scales in the block: "bf16 per row", "bf16 per 32"; for kOutside "none".
absl::string_view KvScalesName(KvScales scales);
// The inverse of KvScalesName; kOutside for every other name.
KvScales KvScalesFromName(absl::string_view name);

struct KvLayout {
  int32_t num_layers = 0;
  int32_t num_kv_heads = 0;
  int32_t head_dim = 0;
  int32_t block_tokens = 0;
  DType dtype = DType::kF32;
  KvScales scales = KvScales::kOutside;

  friend bool operator==(const KvLayout&, const KvLayout&) = default;

  // kInvalidArgument names the field that is not positive or out of range
  // (block bytes must be between 1 and 16 MiB, block_tokens at most 4096), or says that the scales
  // are of another dtype.
  absl::Status Validate() const;

  // Bytes of the head_dim elements of one token and kv head.
  size_t RowBytes() const;
  // bf16 scales of one token and kv head in the block; may be 0.
  int32_t ScalesPerRow() const;
  // Byte offset of the scales in a part: num_kv_heads x block_tokens x RowBytes().
  size_t ScalesOffset() const;
  // Bytes of one (layer, K or V) part: elements, then scales.
  size_t BytesPerPart() const;
  // Byte offset of K (which = 0) or V (which = 1) of `layer` in a block.
  size_t PartOffset(int32_t layer, int32_t which) const;
  // 2 x num_layers x BytesPerPart().
  size_t BytesPerBlock() const;
};

}  // namespace reprise::cachestore
