// Identities and keys that were computed by another program (tests/golden/make_block_keys.py).
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "cachestore/block/block_key.h"
#include "cachestore/block/namespace_identity.h"

namespace reprise::cachestore {
namespace {

using nlohmann::json;

uint64_t FromHex(const std::string& hex) { return std::stoull(hex, nullptr, 16); }

NamespaceIdentity IdentityOf(const json& fields) {
  NamespaceIdentity id;
  id.model_digest = fields.at("model_digest");
  id.tokenizer_digest = fields.at("tokenizer_digest");
  id.adapter_digest = fields.at("adapter_digest");
  id.layout.num_layers = fields.at("num_layers");
  id.layout.num_kv_heads = fields.at("num_kv_heads");
  id.layout.head_dim = fields.at("head_dim");
  id.layout.block_tokens = fields.at("block_tokens");
  id.layout.dtype = *DTypeFromName(fields.at("dtype").get<std::string>());
  id.first_layer = fields.at("first_layer");
  id.kv_scales = fields.at("kv_scales");
  id.position_scheme = fields.at("position_scheme");
  id.tensor_parallel_rank = fields.at("tensor_parallel_rank");
  id.tensor_parallel_size = fields.at("tensor_parallel_size");
  id.pipeline_parallel_rank = fields.at("pipeline_parallel_rank");
  id.pipeline_parallel_size = fields.at("pipeline_parallel_size");
  id.tenant = fields.at("tenant");
  id.salt = fields.at("salt");
  id.key_source = fields.at("key_source") == "external" ? KeySource::kExternal : KeySource::kTokens;
  return id;
}

// The words of one block of the file: an array of token ids, or an external key in hex.
std::vector<uint32_t> WordsOf(const json& content) {
  if (content.is_array()) return content.get<std::vector<uint32_t>>();
  const ExternalKey key = *ExternalKey::FromHex(content.get<std::string>());
  return {key.words.begin(), key.words.end()};
}

TEST(GoldenKeysTest, EveryIdentityRootAndKeyIsThatOfTheFile) {
  std::ifstream in(std::string(REPRISE_SOURCE_DIR) + "/tests/golden/block_keys.json");
  const json cases = json::parse(in);
  int num_external = 0;
  for (const json& one : cases) {
    SCOPED_TRACE(one.at("identity").dump());
    const NamespaceIdentity identity = IdentityOf(one.at("identity"));
    ASSERT_TRUE(identity.Validate().ok()) << identity.Validate();
    EXPECT_EQ(absl::BytesToHexString(identity.Encode()), one.at("encoding").get<std::string>());
    const Hash128 secret = {FromHex(one.at("secret")[0]), FromHex(one.at("secret")[1])};
    const BlockKey root = RootKey(secret, identity.Encode());
    EXPECT_EQ(root.ToHex(), one.at("root").get<std::string>());
    std::vector<uint32_t> words;
    std::vector<std::string> expected;
    for (const json& block : one.at("chain")) {
      const std::vector<uint32_t> block_words = WordsOf(block.at("content"));
      words.insert(words.end(), block_words.begin(), block_words.end());
      expected.push_back(block.at("key"));
    }
    const std::vector<BlockKey> keys =
        ChainKeys(root, words, static_cast<int32_t>(words.size() / expected.size()));
    ASSERT_EQ(keys.size(), expected.size());
    for (size_t i = 0; i < keys.size(); ++i) EXPECT_EQ(keys[i].ToHex(), expected[i]);
    num_external += identity.key_source == KeySource::kExternal;
  }
  EXPECT_EQ(cases.size(), 9u);
  EXPECT_EQ(num_external, 2);
}

}  // namespace
}  // namespace reprise::cachestore
