#include "cachestore/block/kv_layout.h"

#include <array>
#include <utility>

#include "absl/strings/str_cat.h"
#include "cachestore/base/check.h"
#include "cachestore/base/status_macros.h"

namespace reprise::cachestore {
namespace {

constexpr int64_t kMaxBlockBytes = int64_t{16} << 20;
// The index keeps a block's token ids in memory: a block of tiny rows must not fill it with ids.
constexpr int32_t kMaxBlockTokens = 4096;
constexpr int32_t kScaleGroup = 32;
constexpr size_t kScaleBytes = 2;
constexpr absl::string_view kPerRowName = "bf16 per row";
constexpr absl::string_view kPer32Name = "bf16 per 32";

struct DTypeInfo {
  DType dtype;
  absl::string_view name;
  int bits;
};

constexpr std::array<DTypeInfo, 6> kDTypes = {{
    {DType::kF32, "fp32", 32},
    {DType::kF16, "fp16", 16},
    {DType::kBF16, "bf16", 16},
    {DType::kF8E4M3, "fp8", 8},
    {DType::kInt8, "int8", 8},
    {DType::kInt4, "int4", 4},
}};

const DTypeInfo* FindDType(DType dtype) {
  for (const DTypeInfo& info : kDTypes) {
    if (info.dtype == dtype) return &info;
  }
  return nullptr;
}

const DTypeInfo& InfoOf(DType dtype) {
  const DTypeInfo* info = FindDType(dtype);
  CHECK(info != nullptr);
  return *info;
}

absl::Status CheckScales(KvScales scales, const DTypeInfo& info) {
  switch (scales) {
    case KvScales::kOutside:
      return absl::OkStatus();
    case KvScales::kPerRow:
      if (info.dtype == DType::kInt8) return absl::OkStatus();
      break;
    case KvScales::kPer32:
      if (info.dtype == DType::kInt4) return absl::OkStatus();
      break;
    default:
      return absl::InvalidArgumentError(
          absl::StrCat("kv layout: scales has unknown value ", static_cast<int>(scales)));
  }
  return absl::InvalidArgumentError(absl::StrCat("kv layout: scales are \"", KvScalesName(scales),
                                                 "\"; ", info.name, " is not scaled like that"));
}

absl::Status CheckPositive(absl::string_view field, int32_t value) {
  if (value > 0) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("kv layout: ", field, " is ", value, "; it must be positive"));
}

}  // namespace

absl::string_view DTypeName(DType dtype) { return InfoOf(dtype).name; }

absl::StatusOr<DType> DTypeFromName(absl::string_view name) {
  std::string known;
  for (const DTypeInfo& info : kDTypes) {
    if (info.name == name) return info.dtype;
    absl::StrAppend(&known, known.empty() ? "" : ", ", info.name);
  }
  return absl::InvalidArgumentError(
      absl::StrCat("unknown KV dtype \"", name, "\"; known: ", known));
}

int DTypeBits(DType dtype) { return InfoOf(dtype).bits; }

absl::string_view KvScalesName(KvScales scales) {
  switch (scales) {
    case KvScales::kOutside:
      return "none";
    case KvScales::kPerRow:
      return kPerRowName;
    case KvScales::kPer32:
      break;
  }
  CHECK(scales == KvScales::kPer32);
  return kPer32Name;
}

KvScales KvScalesFromName(absl::string_view name) {
  if (name == kPerRowName) return KvScales::kPerRow;
  if (name == kPer32Name) return KvScales::kPer32;
  return KvScales::kOutside;
}

absl::Status KvLayout::Validate() const {
  RETURN_IF_ERROR(CheckPositive("num_layers", num_layers));
  RETURN_IF_ERROR(CheckPositive("num_kv_heads", num_kv_heads));
  RETURN_IF_ERROR(CheckPositive("head_dim", head_dim));
  RETURN_IF_ERROR(CheckPositive("block_tokens", block_tokens));
  if (block_tokens > kMaxBlockTokens) {
    return absl::InvalidArgumentError(absl::StrCat("kv layout: block_tokens is ", block_tokens,
                                                   "; at most ", kMaxBlockTokens, " are allowed"));
  }
  const DTypeInfo* info = FindDType(dtype);
  if (info == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat("kv layout: dtype has unknown value ", static_cast<int>(dtype)));
  }
  RETURN_IF_ERROR(CheckScales(scales, *info));
  // A row of int4 elements must end on a byte, or two heads would share one.
  if (info->bits < 8 && head_dim % (8 / info->bits) != 0) {
    return absl::InvalidArgumentError(absl::StrCat("kv layout: head_dim is ", head_dim, "; ",
                                                   info->name, " needs a multiple of ",
                                                   8 / info->bits));
  }
  // Growing the product factor by factor and stopping at the limit cannot overflow.
  int64_t bits = 2 * info->bits;
  for (const auto& [field, value] : {std::pair<absl::string_view, int32_t>{"head_dim", head_dim},
                                     {"block_tokens", block_tokens},
                                     {"num_kv_heads", num_kv_heads},
                                     {"num_layers", num_layers}}) {
    bits *= value;
    if (bits > kMaxBlockBytes * 8) {
      return absl::InvalidArgumentError(
          absl::StrCat("kv layout: a block would be larger than ", kMaxBlockBytes,
                       " bytes; the limit is passed at ", field, " = ", value));
    }
  }
  if (BytesPerBlock() > static_cast<size_t>(kMaxBlockBytes)) {
    return absl::InvalidArgumentError(absl::StrCat("kv layout: a block would have ",
                                                   BytesPerBlock(), " bytes with its scales; at ",
                                                   "most ", kMaxBlockBytes, " are allowed"));
  }
  return absl::OkStatus();
}

size_t KvLayout::RowBytes() const { return static_cast<size_t>(head_dim) * DTypeBits(dtype) / 8; }

int32_t KvLayout::ScalesPerRow() const {
  switch (scales) {
    case KvScales::kOutside:
      return 0;
    case KvScales::kPerRow:
      return 1;
    case KvScales::kPer32:
      break;
  }
  return (head_dim + kScaleGroup - 1) / kScaleGroup;
}

size_t KvLayout::ScalesOffset() const {
  return static_cast<size_t>(num_kv_heads) * static_cast<size_t>(block_tokens) * RowBytes();
}

size_t KvLayout::BytesPerPart() const {
  return ScalesOffset() + static_cast<size_t>(num_kv_heads) * static_cast<size_t>(block_tokens) *
                              ScalesPerRow() * kScaleBytes;
}

size_t KvLayout::PartOffset(int32_t layer, int32_t which) const {
  return (static_cast<size_t>(layer) * 2 + which) * BytesPerPart();
}

size_t KvLayout::BytesPerBlock() const {
  return 2 * static_cast<size_t>(num_layers) * BytesPerPart();
}

}  // namespace reprise::cachestore
