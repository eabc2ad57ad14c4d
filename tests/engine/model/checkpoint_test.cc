#include "engine/model/checkpoint.h"

#include <algorithm>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/engine/model/model_folder.h"

namespace reprise::engine {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr char kIndex[] = "model.safetensors.index.json";
constexpr char kTensor[] = "model.layers.1.self_attn.k_proj.weight";

TEST(CheckpointTest, FindsTensorsInOneFile) {
  const auto checkpoint = Checkpoint::Open(FixturePath("llama_mha_untied"));
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  const StoredTensor* tensor = checkpoint->Find(kTensor);
  ASSERT_NE(tensor, nullptr);
  EXPECT_EQ(ShapeString(tensor->shape), "[48, 48]");
  EXPECT_EQ(checkpoint->Find("model.layers.2.self_attn.k_proj.weight"), nullptr);
}

TEST(CheckpointTest, FindsTensorsInAllShards) {
  const ModelFolder folder("llama_sharded_bf16");
  const nlohmann::json index = nlohmann::json::parse(folder.Read(kIndex));
  const auto checkpoint = Checkpoint::Open(folder.path());
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_EQ(checkpoint->tensors().size(), index.at("weight_map").size());
  for (const auto& [name, shard] : index.at("weight_map").items()) {
    ASSERT_NE(checkpoint->Find(name), nullptr) << name;
    EXPECT_EQ(checkpoint->Find(name)->dtype, "BF16");
  }
}

TEST(CheckpointTest, MissingShardIsNamed) {
  const ModelFolder folder("llama_sharded_bf16");
  folder.Remove("model-00002-of-00003.safetensors");
  const absl::Status status = Checkpoint::Open(folder.path()).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(status.message()), HasSubstr("model-00002-of-00003.safetensors"));
}

TEST(CheckpointTest, TensorThatIsNotInItsShardIsNamed) {
  const ModelFolder folder("llama_sharded_bf16");
  folder.EditJson(kIndex, [](nlohmann::json& index) {
    index["weight_map"]["invented"] = "model-00001-of-00003.safetensors";
  });
  const absl::Status status = Checkpoint::Open(folder.path()).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("invented"), HasSubstr("model-00001-of-00003.safetensors")));
}

TEST(CheckpointTest, ShardNamesDoNotLeaveTheFolder) {
  for (const char* name : {"../model-00001-of-00003.safetensors", "/etc/passwd", "..", ""}) {
    const ModelFolder folder("llama_sharded_bf16");
    folder.EditJson(kIndex, [&](nlohmann::json& index) { index["weight_map"][kTensor] = name; });
    const absl::Status status = Checkpoint::Open(folder.path()).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << name;
    EXPECT_THAT(std::string(status.message()), AllOf(HasSubstr(kTensor), HasSubstr("file name")));
  }
}

TEST(CheckpointTest, MalformedIndexIsRefused) {
  const ModelFolder folder("llama_sharded_bf16");
  folder.Write(kIndex, R"({"weight_map": [1, 2]})");
  EXPECT_THAT(std::string(Checkpoint::Open(folder.path()).status().message()),
              AllOf(HasSubstr(kIndex), HasSubstr("weight_map"), HasSubstr("object")));
  folder.Write(kIndex, "{}");
  EXPECT_THAT(std::string(Checkpoint::Open(folder.path()).status().message()),
              AllOf(HasSubstr("weight_map"), HasSubstr("missing")));
  folder.Write(kIndex, "{\"weight_map\"");
  EXPECT_THAT(std::string(Checkpoint::Open(folder.path()).status().message()),
              AllOf(HasSubstr(kIndex), HasSubstr("not JSON")));
}

TEST(CheckpointTest, FolderWithoutWeightsIsNotFound) {
  const ModelFolder folder;
  absl::Status status = Checkpoint::Open(folder.path()).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(status.message()), HasSubstr("model.safetensors"));
  folder.Write("pytorch_model.bin", "x");
  status = Checkpoint::Open(folder.path()).status();
  EXPECT_THAT(std::string(status.message()), HasSubstr("pytorch_model.bin is not read"));
  status = Checkpoint::Open(folder.file("nowhere")).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(status.message()), HasSubstr("nowhere does not exist"));
}

}  // namespace
}  // namespace reprise::engine
