// KvLayout: the shape and byte order of one KV block.
//
// A block is one contiguous extent holding block_tokens consecutive tokens of all layers:
//
//     [layer][K, V][kv_head][token][head_dim]      elements of `dtype`, little endian
//
// Layer first, so that a block can arrive layer by layer; head before token, so that attention
// reads one head's keys as one run. Sizes are 64-bit everywhere. Immutable value type.
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

// "fp32", "fp16", "bf16", "fp8", "int8", "int4".
absl::string_view DTypeName(DType dtype);
// The inverse of DTypeName. kInvalidArgument lists the known names.
absl::StatusOr<DType> DTypeFromName(absl::string_view name);
// Bits per element (int4: 4).
int DTypeBits(DType dtype);

struct KvLayout {
  int32_t num_layers = 0;
  int32_t num_kv_heads = 0;
  int32_t head_dim = 0;
  int32_t block_tokens = 0;
  DType dtype = DType::kF32;

  friend bool operator==(const KvLayout&, const KvLayout&) = default;

  // kInvalidArgument names the field that is not positive or out of range
  // (block bytes must be between 1 and 16 MiB, block_tokens at most 4096).
  absl::Status Validate() const;

  // Bytes of one (layer, K or V) part: num_kv_heads x block_tokens x head_dim elements.
  size_t BytesPerPart() const;
  // Byte offset of K (which = 0) or V (which = 1) of `layer` in a block.
  size_t PartOffset(int32_t layer, int32_t which) const;
  // 2 x num_layers x BytesPerPart().
  size_t BytesPerBlock() const;
};

}  // namespace reprise::cachestore
