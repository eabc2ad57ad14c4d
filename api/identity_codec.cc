#include "api/identity_codec.h"

#include <google/protobuf/util/json_util.h>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "cachestore/base/check.h"
#include "cachestore/base/status_macros.h"

namespace reprise::api {

using cachestore::DType;
using cachestore::KeySource;
using cachestore::KvLayout;
using cachestore::NamespaceIdentity;

// Both enumerations use the same numbers.
static_assert(static_cast<int>(v1::DTYPE_FP32) == static_cast<int>(DType::kF32));
static_assert(static_cast<int>(v1::DTYPE_FP16) == static_cast<int>(DType::kF16));
static_assert(static_cast<int>(v1::DTYPE_BF16) == static_cast<int>(DType::kBF16));
static_assert(static_cast<int>(v1::DTYPE_FP8_E4M3) == static_cast<int>(DType::kF8E4M3));
static_assert(static_cast<int>(v1::DTYPE_INT8) == static_cast<int>(DType::kInt8));
static_assert(static_cast<int>(v1::DTYPE_INT4) == static_cast<int>(DType::kInt4));
static_assert(static_cast<int>(v1::KEY_SOURCE_TOKENS) == static_cast<int>(KeySource::kTokens));
static_assert(static_cast<int>(v1::KEY_SOURCE_EXTERNAL) == static_cast<int>(KeySource::kExternal));

v1::NamespaceIdentity ToProto(const NamespaceIdentity& identity) {
  v1::NamespaceIdentity message;
  message.set_model_digest(identity.model_digest);
  message.set_tokenizer_digest(identity.tokenizer_digest);
  message.set_adapter_digest(identity.adapter_digest);
  v1::KvLayout& layout = *message.mutable_layout();
  layout.set_num_layers(identity.layout.num_layers);
  layout.set_num_kv_heads(identity.layout.num_kv_heads);
  layout.set_head_dim(identity.layout.head_dim);
  layout.set_block_tokens(identity.layout.block_tokens);
  layout.set_dtype(static_cast<v1::DType>(identity.layout.dtype));
  message.set_first_layer(identity.first_layer);
  message.set_kv_scales(identity.kv_scales);
  message.set_position_scheme(identity.position_scheme);
  message.set_tensor_parallel_rank(identity.tensor_parallel_rank);
  message.set_tensor_parallel_size(identity.tensor_parallel_size);
  message.set_pipeline_parallel_rank(identity.pipeline_parallel_rank);
  message.set_pipeline_parallel_size(identity.pipeline_parallel_size);
  message.set_tenant(identity.tenant);
  message.set_salt(identity.salt);
  message.set_key_source(static_cast<v1::KeySource>(identity.key_source));
  return message;
}

absl::StatusOr<NamespaceIdentity> FromProto(const v1::NamespaceIdentity& message) {
  if (!message.has_layout()) return absl::InvalidArgumentError("identity.layout is missing");
  if (message.layout().dtype() == v1::DTYPE_UNSPECIFIED) {
    return absl::InvalidArgumentError("identity.layout.dtype is missing");
  }
  if (!v1::DType_IsValid(message.layout().dtype())) {
    return absl::InvalidArgumentError(
        absl::StrCat("identity.layout.dtype is ", message.layout().dtype(), ", which is unknown"));
  }
  NamespaceIdentity identity;
  identity.model_digest = message.model_digest();
  identity.tokenizer_digest = message.tokenizer_digest();
  identity.adapter_digest = message.adapter_digest();
  identity.layout.num_layers = message.layout().num_layers();
  identity.layout.num_kv_heads = message.layout().num_kv_heads();
  identity.layout.head_dim = message.layout().head_dim();
  identity.layout.block_tokens = message.layout().block_tokens();
  identity.layout.dtype = static_cast<DType>(message.layout().dtype());
  identity.first_layer = message.first_layer();
  identity.kv_scales = message.kv_scales();
  identity.layout.scales = cachestore::KvScalesFromName(identity.kv_scales);
  identity.position_scheme = message.position_scheme();
  identity.tensor_parallel_rank = message.tensor_parallel_rank();
  identity.tensor_parallel_size = message.tensor_parallel_size();
  identity.pipeline_parallel_rank = message.pipeline_parallel_rank();
  identity.pipeline_parallel_size = message.pipeline_parallel_size();
  identity.tenant = message.tenant();
  identity.salt = message.salt();
  if (message.key_source() != v1::KEY_SOURCE_UNSPECIFIED) {
    if (!v1::KeySource_IsValid(message.key_source())) {
      return absl::InvalidArgumentError(
          absl::StrCat("identity.key_source is ", message.key_source(), ", which is unknown"));
    }
    identity.key_source = static_cast<KeySource>(message.key_source());
  }
  RETURN_IF_ERROR(identity.Validate());
  return identity;
}

std::string ToJson(const v1::NamespaceIdentity& message) {
  google::protobuf::util::JsonPrintOptions options;
  options.add_whitespace = true;
  options.always_print_primitive_fields = true;
  options.preserve_proto_field_names = true;
  std::string json;
  // Only messages with Any or bad UTF-8 can fail; digests, names and salts of a message that was
  // received are UTF-8.
  CHECK(google::protobuf::util::MessageToJsonString(message, &json, options).ok());
  return json;
}

absl::StatusOr<v1::NamespaceIdentity> IdentityFromJson(absl::string_view json) {
  v1::NamespaceIdentity message;
  const auto status = google::protobuf::util::JsonStringToMessage(
      google::protobuf::StringPiece(json.data(), json.size()), &message);
  if (!status.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat("not the JSON of a namespace identity: ", status.message().ToString()));
  }
  return message;
}

}  // namespace reprise::api
