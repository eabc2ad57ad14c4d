#include "engine/model/demo_model.h"

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "engine/model/checkpoint.h"
#include "engine/model/demo_tokenizer.h"
#include "engine/model/model.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/engine/model/greedy_variety.h"
#include "tests/engine/model/model_folder.h"

namespace reprise::engine {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

DemoModelOptions Small(const std::string& family) {
  DemoModelOptions options;
  options.family = family;
  options.hidden_size = 192;
  options.num_layers = 6;
  options.num_heads = 6;
  options.num_kv_heads = family == "gpt2" ? 6 : 2;
  options.intermediate_size = 512;
  options.max_positions = 512;
  return options;
}

class DemoModelFamilyTest : public ::testing::TestWithParam<const char*> {};

TEST_P(DemoModelFamilyTest, WritesAModelWhoseGreedyTextDoesNotCollapse) {
  const ModelFolder folder;
  ASSERT_TRUE(WriteDemoModel(Small(GetParam()), folder.path()).ok());
  const std::unique_ptr<Backend> backend = NewCpuBackend(1);
  const auto model = LoadModel(folder.path(), backend.get());
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ((*model)->config().family, GetParam());
  EXPECT_EQ((*model)->config().num_layers, 6);
  EXPECT_THAT((*model)->config().eos_token_ids, ElementsAre(kDemoEndOfText, kDemoImEnd));
  const absl::Status variety = CheckGreedyVariety(model->get());
  EXPECT_TRUE(variety.ok()) << variety;
}

TEST_P(DemoModelFamilyTest, GreedyTextIsPrintable) {
  const ModelFolder folder;
  ASSERT_TRUE(WriteDemoModel(Small(GetParam()), folder.path()).ok());
  const std::unique_ptr<Backend> backend = NewCpuBackend(1);
  const auto model = LoadModel(folder.path(), backend.get());
  ASSERT_TRUE(model.ok()) << model.status();
  const auto tokens = GreedyTokens(model->get(), {'a', kDemoImEnd, 'b'}, 100);
  ASSERT_TRUE(tokens.ok()) << tokens.status();
  ASSERT_EQ(tokens->size(), 100u);
  for (const uint32_t token : *tokens) {
    EXPECT_TRUE(token == '\n' || (token >= ' ' && token <= '~')) << token;
  }
}

INSTANTIATE_TEST_SUITE_P(All, DemoModelFamilyTest, ::testing::Values("llama", "gpt2", "qwen2"),
                         [](const auto& info) { return std::string(info.param); });

std::map<std::string, std::string> Files(const DemoModelOptions& options) {
  const ModelFolder folder;
  const absl::Status status = WriteDemoModel(options, folder.path());
  EXPECT_TRUE(status.ok()) << status;
  std::map<std::string, std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder.path())) {
    files[entry.path().filename()] = folder.Read(entry.path().filename());
  }
  return files;
}

TEST(DemoModelTest, SameOptionsGiveTheSameBytesAndAnotherSeedOthers) {
  DemoModelOptions options = Small("llama");
  const auto files = Files(options);
  EXPECT_EQ(files.size(), 5u);
  EXPECT_EQ(Files(options), files);
  options.seed = 2;
  const auto others = Files(options);
  EXPECT_NE(others.at("model.safetensors"), files.at("model.safetensors"));
  EXPECT_EQ(others.at("config.json"), files.at("config.json"));
}

TEST(DemoModelTest, BF16TakesHalfTheBytesAndLoads) {
  DemoModelOptions options = Small("llama");
  const size_t f32_bytes = Files(options).at("model.safetensors").size();
  options.dtype = ElementType::kBF16;
  const ModelFolder folder;
  ASSERT_TRUE(WriteDemoModel(options, folder.path()).ok());
  EXPECT_NEAR(static_cast<double>(folder.Read("model.safetensors").size()), f32_bytes / 2.0,
              f32_bytes * 0.01);
  const auto checkpoint = Checkpoint::Open(folder.path());
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_EQ(checkpoint->Find("lm_head.weight")->dtype, "BF16");
  const std::unique_ptr<Backend> backend = NewCpuBackend(1);
  EXPECT_TRUE(LoadModel(folder.path(), backend.get()).ok());
}

TEST(DemoModelTest, LargerVocabulariesKeepTheTextInTheTokenizersRange) {
  DemoModelOptions options = Small("gpt2");
  options.vocab_size = 1000;
  const ModelFolder folder;
  ASSERT_TRUE(WriteDemoModel(options, folder.path()).ok());
  const std::unique_ptr<Backend> backend = NewCpuBackend(1);
  const auto model = LoadModel(folder.path(), backend.get());
  ASSERT_TRUE(model.ok()) << model.status();
  const auto tokens = GreedyTokens(model->get(), {900, 1, 2}, 50);
  ASSERT_TRUE(tokens.ok()) << tokens.status();
  for (const uint32_t token : *tokens) EXPECT_LT(token, 256u);
}

TEST(DemoModelTest, TokenizerHasEveryByteAndTheSpecialTokens) {
  const nlohmann::json tokenizer = DemoTokenizer();
  const nlohmann::json& vocab = tokenizer.at("model").at("vocab");
  EXPECT_EQ(vocab.size(), 256u);
  EXPECT_EQ(vocab.at("A"), 65);
  EXPECT_EQ(vocab.at("\u0120"), 32);  // space
  EXPECT_EQ(vocab.at("\u010a"), 10);  // newline
  EXPECT_EQ(vocab.at("\u0100"), 0);
  EXPECT_EQ(vocab.at("\u0143"), 0xAD);
  EXPECT_EQ(vocab.at("\u00ff"), 255);
  EXPECT_EQ(tokenizer.at("added_tokens").size(), 3u);
  EXPECT_EQ(tokenizer.at("added_tokens").at(2).at("content"), "<|im_end|>");
  EXPECT_EQ(tokenizer.at("added_tokens").at(2).at("id"), kDemoImEnd);
}

TEST(DemoModelTest, ImpossibleOptionsAreNamed) {
  const auto error = [](const DemoModelOptions& options) {
    const ModelFolder folder;
    const absl::Status status = WriteDemoModel(options, folder.path());
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
    return std::string(status.message());
  };
  DemoModelOptions options = Small("bert");
  EXPECT_THAT(error(options), AllOf(HasSubstr("family"), HasSubstr("bert")));
  options = Small("llama");
  options.vocab_size = 258;
  EXPECT_THAT(error(options), AllOf(HasSubstr("vocab_size is 258"), HasSubstr("259")));
  options = Small("llama");
  options.num_layers = 0;
  EXPECT_THAT(error(options), HasSubstr("num_layers is 0"));
  options = Small("llama");
  options.hidden_size = 200;
  EXPECT_THAT(error(options), AllOf(HasSubstr("hidden_size is 200"), HasSubstr("num_heads 6")));
  options = Small("llama");
  options.num_kv_heads = 4;
  EXPECT_THAT(error(options), HasSubstr("num_kv_heads is 4"));
  options = Small("gpt2");
  options.num_kv_heads = 2;
  EXPECT_THAT(error(options), AllOf(HasSubstr("num_kv_heads is 2"), HasSubstr("gpt2")));
  options = Small("qwen2");
  options.dtype = ElementType::kF16;
  EXPECT_THAT(error(options), HasSubstr("dtype is f16"));
}

TEST(DemoModelTest, FolderThatHasAModelIsLeftAlone) {
  const ModelFolder folder("llama_gqa_tied");
  const std::string before = folder.Read("model.safetensors");
  const absl::Status status = WriteDemoModel(Small("llama"), folder.path());
  EXPECT_EQ(status.code(), absl::StatusCode::kAlreadyExists);
  EXPECT_THAT(std::string(status.message()), HasSubstr(folder.path()));
  EXPECT_EQ(folder.Read("model.safetensors"), before);
}

TEST(DemoModelTest, FolderThatCannotBeMadeIsNamed) {
  const ModelFolder folder;
  folder.Write("file", "x");
  const absl::Status status = WriteDemoModel(Small("llama"), folder.file("file/model"));
  EXPECT_FALSE(status.ok());
  EXPECT_THAT(std::string(status.message()), HasSubstr("file/model"));
}

}  // namespace
}  // namespace reprise::engine
