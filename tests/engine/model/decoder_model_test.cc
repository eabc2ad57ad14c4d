#include "engine/model/decoder_model.h"

#include <algorithm>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "engine/model/model.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/engine/model/kv_sequence.h"
#include "tests/engine/model/model_folder.h"

namespace reprise::engine {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr char kLlama[] = "llama_gqa_tied";
constexpr char kGpt2[] = "gpt2_mha_tied";

class DecoderModelTest : public ::testing::Test {
 protected:
  std::unique_ptr<Model> Load(const std::string& folder) {
    auto model = LoadModel(folder, backend_.get());
    EXPECT_TRUE(model.ok()) << model.status();
    return model.ok() ? *std::move(model) : nullptr;
  }
  std::string LoadError(const ModelFolder& folder) {
    const absl::Status status = LoadModel(folder.path(), backend_.get()).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    return std::string(status.message());
  }
  std::string ForwardError(Model* model, const SequenceChunk& chunk,
                           const cachestore::KvLayout& layout) {
    const absl::Status status = model->Forward({chunk}, layout).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    return std::string(status.message());
  }

  const std::unique_ptr<Backend> backend_ = NewCpuBackend(1);
  const std::vector<uint32_t> tokens_ = {5, 17, 3, 250, 81, 81, 9, 40, 41, 2};
};

TEST_F(DecoderModelTest, DescribesItsKv) {
  const auto llama = Load(FixturePath(kLlama));
  const cachestore::KvLayout layout = llama->layout(32);
  EXPECT_EQ(layout.num_layers, 2);
  EXPECT_EQ(layout.num_kv_heads, 2);
  EXPECT_EQ(layout.head_dim, 12);
  EXPECT_EQ(layout.block_tokens, 32);
  EXPECT_EQ(layout.dtype, cachestore::DType::kF32);
  EXPECT_EQ(llama->position_scheme(), "rope theta=500000");
  EXPECT_EQ(Load(FixturePath(kGpt2))->position_scheme(), "learned");
  EXPECT_EQ(Load(FixturePath("gemma3_mqa_tied"))->position_scheme(),
            "rope theta=1000000 linear factor=8; in windows rope theta=10000");
}

TEST_F(DecoderModelTest, ChunksThatWantNoLogitsStillWriteAllTheirKv) {
  const auto model = Load(FixturePath(kLlama));
  KvSequence with(model.get(), 16, 8);
  KvSequence without(model.get(), 16, 8);
  with.Run(tokens_);
  SequenceChunk chunk = without.Next(tokens_);
  chunk.wants_logits = false;
  ASSERT_TRUE(model->Forward({chunk}, without.layout()).ok());
  ASSERT_EQ(with.memory().size(), 2u);
  EXPECT_EQ(with.memory(), without.memory());
  KvSequence untouched(model.get(), 16, 8);
  EXPECT_NE(with.memory(), untouched.memory());
}

TEST_F(DecoderModelTest, SmallAndLargeBatchesMayFollowEachOther) {
  const auto model = Load(FixturePath(kLlama));
  KvSequence small(model.get(), 16, 8);
  const std::vector<float> first = small.Run(absl::MakeConstSpan(tokens_).first(2));
  KvSequence large(model.get(), 160, 8);
  large.Run(std::vector<uint32_t>(150, 7));
  KvSequence again(model.get(), 16, 8);
  EXPECT_EQ(again.Run(absl::MakeConstSpan(tokens_).first(2)), first);
}

TEST_F(DecoderModelTest, EmptyBatchIsNothingToDo) {
  const auto model = Load(FixturePath(kLlama));
  EXPECT_TRUE(model->Forward({}, model->layout(8)).ok());
}

TEST_F(DecoderModelTest, InputOutsideOfTheModelIsRefusedAndWritesNothing) {
  const auto model = Load(FixturePath(kLlama));
  KvSequence sequence(model.get(), 160, 8);
  const KvSequence untouched(model.get(), 160, 8);
  const cachestore::KvLayout layout = sequence.layout();
  const auto blocks = sequence.blocks();
  const std::vector<uint32_t> bad_token = {5, 272};
  EXPECT_THAT(ForwardError(model.get(), {bad_token, 0, blocks, true}, layout),
              AllOf(HasSubstr("272"), HasSubstr("vocabulary")));
  EXPECT_THAT(ForwardError(model.get(), {{}, 0, blocks, true}, layout), HasSubstr("no tokens"));
  EXPECT_THAT(ForwardError(model.get(), {tokens_, -1, blocks, true}, layout), HasSubstr("-1"));
  EXPECT_THAT(ForwardError(model.get(), {tokens_, 151, blocks, true}, layout),
              AllOf(HasSubstr("151"), HasSubstr("160 positions")));
  EXPECT_THAT(ForwardError(model.get(),
                           {tokens_, std::numeric_limits<int64_t>::max(), blocks, true}, layout),
              HasSubstr("160 positions"));
  EXPECT_THAT(ForwardError(model.get(), {tokens_, 0, blocks.first(1), true}, layout),
              AllOf(HasSubstr("1 blocks"), HasSubstr("10 positions")));
  cachestore::KvLayout other = layout;
  other.num_kv_heads = 4;
  EXPECT_THAT(ForwardError(model.get(), {tokens_, 0, blocks, true}, other),
              HasSubstr("4 kv heads"));
  other = layout;
  other.block_tokens = 0;
  EXPECT_THAT(ForwardError(model.get(), {tokens_, 0, blocks, true}, other), HasSubstr("0 tokens"));
  other = layout;
  other.dtype = cachestore::DType::kInt8;  // without scales
  EXPECT_THAT(ForwardError(model.get(), {tokens_, 0, blocks, true}, other), HasSubstr("scales"));
  EXPECT_EQ(sequence.memory(), untouched.memory());
  EXPECT_FALSE(sequence.Run(tokens_).empty());
  EXPECT_NE(sequence.memory(), untouched.memory());
}

TEST_F(DecoderModelTest, DigestNamesConfigAndWeightsNotFiles) {
  const std::string digest = Load(FixturePath(kLlama))->digest();
  EXPECT_EQ(digest.size(), 32u);
  EXPECT_NE(digest, Load(FixturePath("llama_mha_untied"))->digest());

  const ModelFolder reformatted(kLlama);
  const nlohmann::json config = nlohmann::json::parse(reformatted.Read("config.json"));
  reformatted.Write("config.json", "\n" + config.dump(7) + "\n");
  reformatted.Remove("generation_config.json");
  reformatted.EditHeader("model.safetensors", [](nlohmann::json& header) {
    header["__metadata__"]["note"] = "the header moved the data";
  });
  EXPECT_EQ(Load(reformatted.path())->digest(), digest);

  const ModelFolder sharded(kLlama);
  std::filesystem::rename(sharded.file("model.safetensors"), sharded.file("one.safetensors"));
  nlohmann::json index;
  const std::string bytes = sharded.Read("one.safetensors");
  uint64_t length = 0;
  bytes.copy(reinterpret_cast<char*>(&length), sizeof(length));
  const nlohmann::json header = nlohmann::json::parse(bytes.substr(8, length));
  for (const auto& [name, entry] : header.items()) {
    if (name != "__metadata__") index["weight_map"][name] = "one.safetensors";
  }
  sharded.Write("model.safetensors.index.json", index.dump());
  EXPECT_EQ(Load(sharded.path())->digest(), digest);

  const ModelFolder edited(kLlama);
  edited.EditJson("config.json", [](nlohmann::json& json) { json["rms_norm_eps"] = 1e-4; });
  EXPECT_NE(Load(edited.path())->digest(), digest);

  const ModelFolder flipped(kLlama);
  std::string weights = flipped.Read("model.safetensors");
  weights.back() = static_cast<char>(weights.back() ^ 1);
  flipped.Write("model.safetensors", weights);
  EXPECT_NE(Load(flipped.path())->digest(), digest);
}

TEST_F(DecoderModelTest, LoadsNamesWithoutTheirPrefixAndUnalignedData) {
  for (const char* fixture : {kLlama, kGpt2}) {
    const ModelFolder folder(fixture);
    folder.EditHeader("model.safetensors", [](nlohmann::json& header) {
      nlohmann::json renamed;
      for (const auto& [name, entry] : header.items()) {
        const size_t dot = name.find('.') + 1;
        renamed[name == "__metadata__" ? name : name.substr(dot)] = entry;
      }
      header = renamed;
    });
    std::string bytes = folder.Read("model.safetensors");
    uint64_t length = 0;
    bytes.copy(reinterpret_cast<char*>(&length), sizeof(length));
    const std::string header = bytes.substr(8, length);
    const std::string odd = header + std::string(header.size() % 2 == 0 ? 1 : 0, ' ');
    folder.Write("model.safetensors", SafetensorsBytes(odd, bytes.substr(8 + length)));
    const auto original = Load(FixturePath(fixture));
    const auto renamed = Load(folder.path());
    ASSERT_NE(renamed, nullptr);
    KvSequence one(original.get(), 16, 8);
    KvSequence other(renamed.get(), 16, 8);
    EXPECT_EQ(one.Run(tokens_), other.Run(tokens_));
  }
}

TEST_F(DecoderModelTest, MissingTensorIsNamedWithItsShape) {
  const ModelFolder folder(kLlama);
  folder.EditHeader("model.safetensors", [](nlohmann::json& header) {
    header.erase("model.layers.1.mlp.up_proj.weight");
  });
  EXPECT_THAT(LoadError(folder), AllOf(HasSubstr("model.layers.1.mlp.up_proj.weight"),
                                       HasSubstr("missing"), HasSubstr("[64, 48]")));
}

TEST_F(DecoderModelTest, UntiedHeadMustBeThere) {
  const ModelFolder folder(kLlama);
  folder.EditJson("config.json", [](nlohmann::json& json) { json["tie_word_embeddings"] = false; });
  EXPECT_THAT(LoadError(folder),
              AllOf(HasSubstr("lm_head.weight"), HasSubstr("missing"), HasSubstr("[272, 48]")));
}

TEST_F(DecoderModelTest, TiedHeadMayBeStoredTwiceButNotDiffer) {
  const ModelFolder folder("llama_mha_untied");
  folder.EditJson("config.json", [](nlohmann::json& json) { json["tie_word_embeddings"] = true; });
  EXPECT_THAT(LoadError(folder),
              AllOf(HasSubstr("lm_head.weight"), HasSubstr("differs"), HasSubstr("embed_tokens")));
  const std::string bytes = folder.Read("model.safetensors");
  uint64_t length = 0;
  bytes.copy(reinterpret_cast<char*>(&length), sizeof(length));
  const nlohmann::json header = nlohmann::json::parse(bytes.substr(8, length));
  const auto place = [&](const char* name) {
    return 8 + length + header.at(name).at("data_offsets").at(0).get<size_t>();
  };
  std::string same = bytes;
  const size_t table_bytes = 272 * 48 * sizeof(float);
  same.replace(place("lm_head.weight"), table_bytes,
               bytes.substr(place("model.embed_tokens.weight"), table_bytes));
  folder.Write("model.safetensors", same);
  EXPECT_NE(Load(folder.path()), nullptr);
}

TEST_F(DecoderModelTest, WrongShapeIsNamedWithBothShapes) {
  const ModelFolder folder(kLlama);
  folder.EditHeader("model.safetensors", [](nlohmann::json& header) {
    header["model.layers.0.self_attn.q_proj.weight"]["shape"] = {24, 96};
  });
  EXPECT_THAT(LoadError(folder), AllOf(HasSubstr("model.layers.0.self_attn.q_proj.weight"),
                                       HasSubstr("[24, 96]"), HasSubstr("[48, 48]")));
  const ModelFolder wide(kGpt2);
  wide.EditJson("config.json", [](nlohmann::json& json) { json["n_inner"] = 100; });
  EXPECT_THAT(LoadError(wide), AllOf(HasSubstr("transformer.h.0.mlp.c_fc.weight"),
                                     HasSubstr("[48, 96]"), HasSubstr("[48, 100]")));
}

TEST_F(DecoderModelTest, DtypeThatWeightsCannotHaveIsNamed) {
  const ModelFolder folder(kLlama);
  folder.EditHeader("model.safetensors",
                    [](nlohmann::json& header) { header["model.norm.weight"]["dtype"] = "I32"; });
  EXPECT_THAT(LoadError(folder), AllOf(HasSubstr("model.norm.weight"), HasSubstr("I32")));
}

TEST_F(DecoderModelTest, TensorWithoutAPlaceIsRefusedUnlessItIsAKnownConstant) {
  const ModelFolder folder(kGpt2);
  const std::string original = folder.Read("model.safetensors");
  const auto add = [&](const char* name) {
    folder.Write("model.safetensors", original + std::string(4, '\0'));
    folder.EditHeader("model.safetensors", [&](nlohmann::json& header) {
      int64_t end = 0;
      for (const auto& [key, entry] : header.items()) {
        if (key != "__metadata__") {
          end = std::max(end, entry.at("data_offsets").at(1).get<int64_t>());
        }
      }
      header[name] = {{"dtype", "U8"}, {"shape", {4}}, {"data_offsets", {end, end + 4}}};
    });
  };
  add("transformer.h.0.attn.extra.weight");
  EXPECT_THAT(LoadError(folder),
              AllOf(HasSubstr("transformer.h.0.attn.extra.weight"), HasSubstr("has no place")));
  add("transformer.h.2.attn.c_proj.weight");
  EXPECT_THAT(LoadError(folder), HasSubstr("transformer.h.2.attn.c_proj.weight"));
  add("transformer.h.0.attn.bias");
  EXPECT_NE(Load(folder.path()), nullptr);
}

TEST_F(DecoderModelTest, ConfigThatLeavesOutBiasesOfTheCheckpointIsRefused) {
  const ModelFolder folder("llama_mqa_biases");
  folder.EditJson("config.json", [](nlohmann::json& json) { json["attention_bias"] = false; });
  EXPECT_THAT(LoadError(folder), AllOf(HasSubstr("bias"), HasSubstr("has no place")));
}

TEST_F(DecoderModelTest, RefusedModelsAndMissingFilesGiveTheirReason) {
  const ModelFolder folder(kLlama);
  folder.EditJson("config.json",
                  [](nlohmann::json& json) { json["architectures"] = {"BertForMaskedLM"}; });
  EXPECT_THAT(LoadError(folder), HasSubstr("cached KV of a prefix is not valid"));
  const ModelFolder empty;
  EXPECT_EQ(LoadModel(empty.path(), backend_.get()).status().code(), absl::StatusCode::kNotFound);
  const ModelFolder no_weights(kLlama);
  no_weights.Remove("model.safetensors");
  EXPECT_EQ(LoadModel(no_weights.path(), backend_.get()).status().code(),
            absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace reprise::engine
