#include "api/identity_codec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>

namespace reprise::api {
namespace {

using ::testing::HasSubstr;

cachestore::NamespaceIdentity Identity() {
  cachestore::NamespaceIdentity identity;
  identity.model_digest = "m";
  identity.tokenizer_digest = "t";
  identity.adapter_digest = "a";
  identity.layout = {.num_layers = 3,
                     .num_kv_heads = 2,
                     .head_dim = 16,
                     .block_tokens = 8,
                     .dtype = cachestore::DType::kBF16};
  identity.first_layer = 5;
  identity.kv_scales = "none";
  identity.position_scheme = "learned";
  identity.tensor_parallel_rank = 1;
  identity.tensor_parallel_size = 2;
  identity.pipeline_parallel_rank = 2;
  identity.pipeline_parallel_size = 4;
  identity.tenant = "alice";
  identity.salt = "s";
  identity.key_source = cachestore::KeySource::kExternal;
  return identity;
}

TEST(IdentityCodecTest, EveryFieldSurvivesTheMessageAndItsJson) {
  const v1::NamespaceIdentity message = ToProto(Identity());
  const auto back = FromProto(message);
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(*back, Identity());
  const auto from_json = IdentityFromJson(ToJson(message));
  ASSERT_TRUE(from_json.ok()) << from_json.status();
  EXPECT_EQ(from_json->SerializeAsString(), message.SerializeAsString());
}

TEST(IdentityCodecTest, AnyMissingFieldIsRefused) {
  using Clear = std::function<void(v1::NamespaceIdentity&)>;
  const Clear clears[] = {
      [](auto& m) { m.clear_model_digest(); },
      [](auto& m) { m.clear_tokenizer_digest(); },
      [](auto& m) { m.clear_adapter_digest(); },
      [](auto& m) { m.clear_layout(); },
      [](auto& m) { m.mutable_layout()->clear_num_layers(); },
      [](auto& m) { m.mutable_layout()->clear_num_kv_heads(); },
      [](auto& m) { m.mutable_layout()->clear_head_dim(); },
      [](auto& m) { m.mutable_layout()->clear_block_tokens(); },
      [](auto& m) { m.mutable_layout()->clear_dtype(); },
      [](auto& m) { m.clear_kv_scales(); },
      [](auto& m) { m.clear_position_scheme(); },
      [](auto& m) { m.clear_tensor_parallel_size(); },
      [](auto& m) { m.clear_pipeline_parallel_size(); },
      [](auto& m) { m.clear_tenant(); },
  };
  for (size_t i = 0; i < std::size(clears); ++i) {
    v1::NamespaceIdentity message = ToProto(Identity());
    clears[i](message);
    EXPECT_EQ(FromProto(message).status().code(), absl::StatusCode::kInvalidArgument) << i;
  }
  v1::NamespaceIdentity no_salt = ToProto(Identity());
  no_salt.clear_salt();
  EXPECT_TRUE(FromProto(no_salt).ok());
}

TEST(IdentityCodecTest, AnUnknownElementTypeIsRefused) {
  v1::NamespaceIdentity message = ToProto(Identity());
  message.mutable_layout()->set_dtype(static_cast<v1::DType>(77));
  EXPECT_THAT(std::string(FromProto(message).status().message()), HasSubstr("77"));
}

TEST(IdentityCodecTest, JsonThatIsNoIdentityIsRefusedWithTheCause) {
  EXPECT_EQ(IdentityFromJson("{").status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(IdentityFromJson("{\"modle_digest\": \"x\"}").status().message()),
              HasSubstr("modle_digest"));
}

}  // namespace
}  // namespace reprise::api
