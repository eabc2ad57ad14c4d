#include "cachestore/block/namespace_identity.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <set>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace reprise::cachestore {
namespace {

using ::testing::HasSubstr;

NamespaceIdentity Identity() {
  NamespaceIdentity id;
  id.model_digest = "m";
  id.tokenizer_digest = "t";
  id.adapter_digest = "none";
  id.layout = {
      .num_layers = 2, .num_kv_heads = 1, .head_dim = 4, .block_tokens = 4, .dtype = DType::kF32};
  id.kv_scales = "none";
  id.position_scheme = "learned";
  return id;
}

using Change = std::function<void(NamespaceIdentity&)>;

// Every single-field change that leaves the identity valid.
std::vector<Change> ValidChanges() {
  return {
      [](auto& id) { id.model_digest = "m2"; },
      [](auto& id) { id.tokenizer_digest = "t2"; },
      [](auto& id) { id.adapter_digest = "lora"; },
      [](auto& id) { id.layout.num_layers = 3; },
      [](auto& id) { id.layout.num_kv_heads = 2; },
      [](auto& id) { id.layout.head_dim = 8; },
      [](auto& id) { id.layout.block_tokens = 8; },
      [](auto& id) { id.layout.dtype = DType::kBF16; },
      [](auto& id) { id.first_layer = 1; },
      [](auto& id) { id.position_scheme = "rope theta=10000"; },
      [](auto& id) { id.tensor_parallel_size = 2; },
      [](auto& id) { id.tensor_parallel_size = 2, id.tensor_parallel_rank = 1; },
      [](auto& id) { id.pipeline_parallel_size = 2; },
      [](auto& id) { id.pipeline_parallel_size = 2, id.pipeline_parallel_rank = 1; },
      [](auto& id) { id.tenant = "other"; },
      [](auto& id) { id.salt = "s"; },
      [](auto& id) { id.key_source = KeySource::kExternal; },
      [](auto& id) { id.layout.dtype = DType::kF8E4M3; },
      [](auto& id) { id.layout.dtype = DType::kF8E4M3, id.kv_scales = "per head"; },
      [](auto& id) { id.layout.dtype = DType::kInt8, id.kv_scales = "per head"; },
      [](auto& id) { id.layout.dtype = DType::kInt4, id.kv_scales = "per head"; },
      [](auto& id) {
        id.layout.dtype = DType::kInt8;
        id.layout.scales = KvScales::kPerRow;
        id.kv_scales = "bf16 per row";
      },
      [](auto& id) {
        id.layout.dtype = DType::kInt4;
        id.layout.scales = KvScales::kPer32;
        id.kv_scales = "bf16 per 32";
      },
  };
}

TEST(NamespaceIdentityTest, EncodesToTheDocumentedBytes) {
  EXPECT_EQ(absl::BytesToHexString(Identity().Encode()),
            "01000000"
            "01010000006d"
            "020100000074"
            "03040000006e6f6e65"
            "040400000002000000"
            "050400000001000000"
            "060400000004000000"
            "070400000004000000"
            "080100000001"
            "090400000000000000"
            "0a040000006e6f6e65"
            "0b070000006c6561726e6564"
            "0c0400000000000000"
            "0d0400000001000000"
            "0e0400000000000000"
            "0f0400000001000000"
            "100700000064656661756c74"
            "1100000000"
            "120100000001");
}

TEST(NamespaceIdentityTest, DecodeIsTheInverseOfEncode) {
  std::vector<Change> changes = ValidChanges();
  changes.push_back([](auto&) {});
  for (const Change& change : changes) {
    NamespaceIdentity id = Identity();
    change(id);
    const absl::StatusOr<NamespaceIdentity> back = NamespaceIdentity::Decode(id.Encode());
    ASSERT_TRUE(back.ok()) << back.status();
    EXPECT_EQ(*back, id);
  }
}

TEST(NamespaceIdentityTest, AnyDifferingFieldChangesTheEncoding) {
  std::set<std::string> encodings = {Identity().Encode()};
  for (const Change& change : ValidChanges()) {
    NamespaceIdentity id = Identity();
    change(id);
    EXPECT_TRUE(encodings.insert(id.Encode()).second);
  }
}

TEST(NamespaceIdentityTest, BytesThatMoveBetweenFieldsChangeTheEncoding) {
  NamespaceIdentity a = Identity();
  a.tenant = "ab", a.salt = "c";
  NamespaceIdentity b = Identity();
  b.tenant = "a", b.salt = "bc";
  EXPECT_NE(a.Encode(), b.Encode());
}

TEST(NamespaceIdentityTest, ValidateNamesTheMissingOrImpossibleField) {
  const std::pair<Change, const char*> cases[] = {
      {[](auto& id) { id.model_digest.clear(); }, "model_digest is missing"},
      {[](auto& id) { id.tokenizer_digest.clear(); }, "tokenizer_digest is missing"},
      {[](auto& id) { id.adapter_digest.clear(); }, "adapter_digest is missing"},
      {[](auto& id) { id.kv_scales.clear(); }, "kv_scales is missing"},
      {[](auto& id) { id.kv_scales = "per head"; }, "for fp32 it must be \"none\""},
      {[](auto& id) { id.layout.dtype = DType::kInt8; }, "int8 needs to say how it is scaled"},
      {[](auto& id) { id.layout.dtype = DType::kInt4; }, "int4 needs to say how it is scaled"},
      {[](auto& id) { id.layout.dtype = DType::kInt8, id.kv_scales = "bf16 per row"; },
       "the layout's scales are \"none\""},
      {[](auto& id) {
         id.layout.dtype = DType::kInt8;
         id.layout.scales = KvScales::kPerRow;
         id.kv_scales = "per head";
       },
       "is \"per head\"; the layout's scales are \"bf16 per row\""},
      {[](auto& id) { id.position_scheme.clear(); }, "position_scheme is missing"},
      {[](auto& id) { id.tenant.clear(); }, "tenant is missing"},
      {[](auto& id) { id.salt.assign(5000, 's'); }, "salt has 5000 bytes"},
      {[](auto& id) { id.first_layer = -1; }, "first_layer is -1"},
      {[](auto& id) { id.key_source = static_cast<KeySource>(3); },
       "key_source has unknown value 3"},
      {[](auto& id) { id.layout.head_dim = 0; }, "head_dim is 0"},
      {[](auto& id) { id.tensor_parallel_rank = 1; }, "tensor_parallel_rank is 1"},
      {[](auto& id) { id.pipeline_parallel_size = 0; }, "pipeline_parallel_size is 0"},
  };
  ASSERT_TRUE(Identity().Validate().ok());
  for (const auto& [change, message] : cases) {
    NamespaceIdentity id = Identity();
    change(id);
    EXPECT_EQ(id.Validate().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(id.Validate().message()), HasSubstr(message));
  }
}

TEST(NamespaceIdentityTest, EveryTruncationIsRefused) {
  const std::string bytes = Identity().Encode();
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_EQ(NamespaceIdentity::Decode(bytes.substr(0, size)).status().code(),
              absl::StatusCode::kInvalidArgument)
        << size;
  }
}

TEST(NamespaceIdentityTest, UnknownVersionTagAndTrailingBytesAreRefused) {
  std::string newer = Identity().Encode();
  newer[0] = 2;
  EXPECT_THAT(std::string(NamespaceIdentity::Decode(newer).status().message()),
              HasSubstr("format version is 2; this program knows 1"));
  std::string tag = Identity().Encode();
  tag[4] = 0x55;
  EXPECT_THAT(std::string(NamespaceIdentity::Decode(tag).status().message()), HasSubstr("tag 85"));
  EXPECT_THAT(
      std::string(
          NamespaceIdentity::Decode(absl::StrCat(Identity().Encode(), "\x20")).status().message()),
      HasSubstr("unknown tag 32"));
}

}  // namespace
}  // namespace reprise::cachestore
