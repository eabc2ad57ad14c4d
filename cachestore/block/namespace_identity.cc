#include "cachestore/block/namespace_identity.h"

#include <bit>
#include <cstring>
#include <type_traits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "cachestore/base/check.h"
#include "cachestore/base/status_macros.h"

namespace reprise::cachestore {
namespace {

static_assert(std::endian::native == std::endian::little);

constexpr uint32_t kFormatVersion = 1;
constexpr size_t kMaxStringBytes = 4096;

// Values are persisted: never renumber, never reuse. A new field gets a new tag and a new version.
enum Tag : uint8_t {
  kModelDigest = 1,
  kTokenizerDigest = 2,
  kAdapterDigest = 3,
  kNumLayers = 4,
  kNumKvHeads = 5,
  kHeadDim = 6,
  kBlockTokens = 7,
  kDType = 8,
  kFirstLayer = 9,
  kKvScales = 10,
  kPositionScheme = 11,
  kTensorParallelRank = 12,
  kTensorParallelSize = 13,
  kPipelineParallelRank = 14,
  kPipelineParallelSize = 15,
  kTenant = 16,
  kSalt = 17,
  kKeySource = 18,
};

absl::Status Invalid(absl::string_view field, absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("namespace identity: ", field, " ", what));
}

absl::Status CheckString(absl::string_view field, absl::string_view value) {
  if (value.empty()) return Invalid(field, "is missing");
  if (value.size() > kMaxStringBytes) {
    return Invalid(field, absl::StrCat("has ", value.size(), " bytes; at most ", kMaxStringBytes,
                                       " are allowed"));
  }
  return absl::OkStatus();
}

absl::Status CheckRank(absl::string_view kind, int32_t rank, int32_t size) {
  if (size < 1)
    return Invalid(absl::StrCat(kind, "_size"), absl::StrCat("is ", size, "; at least 1"));
  if (rank < 0 || rank >= size) {
    return Invalid(absl::StrCat(kind, "_rank"),
                   absl::StrCat("is ", rank, "; it must be in [0, ", size, ")"));
  }
  return absl::OkStatus();
}

// Appends fields as tag (u8), length (u32), value; everything little endian.
class Encoder {
 public:
  Encoder() { Append(&kFormatVersion, sizeof(kFormatVersion)); }

  void operator()(Tag tag, absl::string_view, const std::string& value) {
    Field(tag, value.data(), value.size());
  }
  void operator()(Tag tag, absl::string_view, const int32_t& value) {
    Field(tag, &value, sizeof(value));
  }
  // An enumeration of one byte.
  template <typename Enum, std::enable_if_t<std::is_enum_v<Enum>, int> = 0>
  void operator()(Tag tag, absl::string_view, const Enum& value) {
    static_assert(sizeof(value) == 1);
    Field(tag, &value, sizeof(value));
  }
  std::string Take() { return std::move(bytes_); }

 private:
  void Append(const void* data, size_t size) {
    bytes_.append(static_cast<const char*>(data), size);
  }
  void Field(Tag tag, const void* data, size_t size) {
    const uint32_t length = static_cast<uint32_t>(size);
    Append(&tag, sizeof(tag));
    Append(&length, sizeof(length));
    Append(data, size);
  }

  std::string bytes_;
};

// Reads back what Encoder wrote: the same fields in the same order. The first problem sticks.
class Decoder {
 public:
  explicit Decoder(absl::string_view bytes) : rest_(bytes) {
    uint32_t version = 0;
    if (!Read(&version, sizeof(version))) {
      Fail(absl::StrCat("encoding has ", bytes.size(), " bytes and no version"));
    } else if (version != kFormatVersion) {
      Fail(absl::StrCat("format version is ", version, "; this program knows ", kFormatVersion));
    }
  }

  void operator()(Tag tag, absl::string_view field, std::string& value) {
    absl::string_view raw;
    if (Field(tag, field, raw)) value.assign(raw.data(), raw.size());
  }
  void operator()(Tag tag, absl::string_view field, int32_t& value) {
    Fixed(tag, field, &value, sizeof(value));
  }
  template <typename Enum, std::enable_if_t<std::is_enum_v<Enum>, int> = 0>
  void operator()(Tag tag, absl::string_view field, Enum& value) {
    Fixed(tag, field, &value, sizeof(value));
  }

  absl::Status Finish() {
    if (!status_.ok()) return status_;
    if (rest_.empty()) return absl::OkStatus();
    return absl::InvalidArgumentError(absl::StrCat("namespace identity: unknown tag ",
                                                   static_cast<int>(static_cast<uint8_t>(rest_[0])),
                                                   " after the last field"));
  }

 private:
  void Fail(absl::string_view what) {
    if (status_.ok()) {
      status_ = absl::InvalidArgumentError(absl::StrCat("namespace identity: ", what));
    }
  }
  bool Read(void* out, size_t size) {
    if (rest_.size() < size) return false;
    std::memcpy(out, rest_.data(), size);
    rest_.remove_prefix(size);
    return true;
  }
  bool Field(Tag tag, absl::string_view field, absl::string_view& raw) {
    if (!status_.ok()) return false;
    uint8_t found = 0;
    uint32_t length = 0;
    if (!Read(&found, sizeof(found)) || !Read(&length, sizeof(length)) || rest_.size() < length) {
      Fail(absl::StrCat(field, " is missing or truncated"));
      return false;
    }
    if (found != tag) {
      Fail(absl::StrCat("tag ", found, " found where ", field, " (tag ", static_cast<int>(tag),
                        ") is expected"));
      return false;
    }
    raw = rest_.substr(0, length);
    rest_.remove_prefix(length);
    return true;
  }
  void Fixed(Tag tag, absl::string_view field, void* out, size_t size) {
    absl::string_view raw;
    if (!Field(tag, field, raw)) return;
    if (raw.size() != size) {
      Fail(absl::StrCat(field, " has ", raw.size(), " bytes instead of ", size));
      return;
    }
    std::memcpy(out, raw.data(), size);
  }

  absl::string_view rest_;
  absl::Status status_;
};

// Calls `visit(tag, field name, member)` for every field in the order of the encoding.
template <typename Identity, typename Visitor>
void VisitFields(Identity& id, Visitor& visit) {
  visit(kModelDigest, "model_digest", id.model_digest);
  visit(kTokenizerDigest, "tokenizer_digest", id.tokenizer_digest);
  visit(kAdapterDigest, "adapter_digest", id.adapter_digest);
  visit(kNumLayers, "layout.num_layers", id.layout.num_layers);
  visit(kNumKvHeads, "layout.num_kv_heads", id.layout.num_kv_heads);
  visit(kHeadDim, "layout.head_dim", id.layout.head_dim);
  visit(kBlockTokens, "layout.block_tokens", id.layout.block_tokens);
  visit(kDType, "layout.dtype", id.layout.dtype);
  visit(kFirstLayer, "first_layer", id.first_layer);
  visit(kKvScales, "kv_scales", id.kv_scales);
  visit(kPositionScheme, "position_scheme", id.position_scheme);
  visit(kTensorParallelRank, "tensor_parallel_rank", id.tensor_parallel_rank);
  visit(kTensorParallelSize, "tensor_parallel_size", id.tensor_parallel_size);
  visit(kPipelineParallelRank, "pipeline_parallel_rank", id.pipeline_parallel_rank);
  visit(kPipelineParallelSize, "pipeline_parallel_size", id.pipeline_parallel_size);
  visit(kTenant, "tenant", id.tenant);
  visit(kSalt, "salt", id.salt);
  visit(kKeySource, "key_source", id.key_source);
}

}  // namespace

absl::Status NamespaceIdentity::Validate() const {
  RETURN_IF_ERROR(CheckString("model_digest", model_digest));
  RETURN_IF_ERROR(CheckString("tokenizer_digest", tokenizer_digest));
  RETURN_IF_ERROR(CheckString("adapter_digest", adapter_digest));
  RETURN_IF_ERROR(layout.Validate());
  if (first_layer < 0)
    return Invalid("first_layer", absl::StrCat("is ", first_layer, "; at least 0"));
  RETURN_IF_ERROR(CheckString("kv_scales", kv_scales));
  if (DTypeBits(layout.dtype) >= 16 && kv_scales != "none") {
    return Invalid("kv_scales", absl::StrCat("is \"", kv_scales.substr(0, 64), "\"; for ",
                                             DTypeName(layout.dtype), " it must be \"none\""));
  }
  // Integers stand for nothing without their scales; fp8 is a number by itself.
  const bool needs_scales = layout.dtype == DType::kInt8 || layout.dtype == DType::kInt4;
  if (needs_scales && kv_scales == "none") {
    return Invalid("kv_scales", absl::StrCat("is \"none\"; ", DTypeName(layout.dtype),
                                             " needs to say how it is scaled"));
  }
  // The name decides where the scales are, so that equal encodings have blocks of equal size.
  if (KvScalesFromName(kv_scales) != layout.scales) {
    return Invalid("kv_scales",
                   absl::StrCat("is \"", kv_scales.substr(0, 64), "\"; the layout's scales are \"",
                                KvScalesName(layout.scales), "\""));
  }
  RETURN_IF_ERROR(CheckString("position_scheme", position_scheme));
  RETURN_IF_ERROR(CheckRank("tensor_parallel", tensor_parallel_rank, tensor_parallel_size));
  RETURN_IF_ERROR(CheckRank("pipeline_parallel", pipeline_parallel_rank, pipeline_parallel_size));
  RETURN_IF_ERROR(CheckString("tenant", tenant));
  if (!salt.empty()) RETURN_IF_ERROR(CheckString("salt", salt));
  if (key_source != KeySource::kTokens && key_source != KeySource::kExternal) {
    return Invalid("key_source", absl::StrCat("has unknown value ", static_cast<int>(key_source)));
  }
  return absl::OkStatus();
}

std::string NamespaceIdentity::Encode() const {
  CHECK(Validate().ok());
  Encoder encoder;
  VisitFields(*this, encoder);
  return encoder.Take();
}

absl::StatusOr<NamespaceIdentity> NamespaceIdentity::Decode(absl::string_view bytes) {
  NamespaceIdentity identity;
  Decoder decoder(bytes);
  VisitFields(identity, decoder);
  RETURN_IF_ERROR(decoder.Finish());
  identity.layout.scales = KvScalesFromName(identity.kv_scales);
  RETURN_IF_ERROR(identity.Validate());
  return identity;
}

}  // namespace reprise::cachestore
