#include "bench/bench_models.h"

#include <filesystem>

#include "absl/strings/str_cat.h"
#include "cachestore/base/status_macros.h"

namespace reprise::bench {
namespace {

using engine::DemoModelOptions;
using engine::ElementType;

constexpr int64_t kMaxPositions = 4096;

DemoModelOptions Qwen2() {
  DemoModelOptions options;
  options.family = "qwen2";
  options.vocab_size = 151936;
  options.hidden_size = 896;
  options.num_layers = 24;
  options.num_heads = 14;
  options.num_kv_heads = 2;
  options.intermediate_size = 4864;
  return options;
}

DemoModelOptions Gpt2() {
  DemoModelOptions options;
  options.family = "gpt2";
  options.vocab_size = 50257;
  options.hidden_size = 768;
  options.num_layers = 12;
  options.num_heads = 12;
  options.num_kv_heads = 12;
  options.intermediate_size = 3072;
  return options;
}

// The same family in a size that computes in milliseconds.
DemoModelOptions Tiny(DemoModelOptions options) {
  options.vocab_size = 512;
  options.num_layers = 2;
  options.hidden_size = options.num_heads * 8;
  options.intermediate_size = 192;
  return options;
}

}  // namespace

std::vector<BenchModel> BenchModels(Extent extent) {
  std::vector<BenchModel> models;
  for (const DemoModelOptions& full : {Qwen2(), Gpt2()}) {
    for (const ElementType dtype : {ElementType::kF32, ElementType::kBF16}) {
      DemoModelOptions options = extent == Extent::kQuick ? Tiny(full) : full;
      options.max_positions = kMaxPositions;
      options.dtype = dtype;
      const char* suffix = dtype == ElementType::kF32 ? "_f32" : "_bf16";
      models.push_back({absl::StrCat(options.family, suffix), options});
    }
  }
  return models;
}

absl::StatusOr<std::string> MakeBenchModel(const BenchModel& model, const std::string& parent) {
  const std::string folder = absl::StrCat(parent, "/", model.name);
  if (!std::filesystem::exists(folder + "/config.json")) {
    RETURN_IF_ERROR(engine::WriteDemoModel(model.options, folder));
  }
  return folder;
}

int64_t StepWeightBytes(const std::string& folder, const engine::ModelConfig& config) {
  int64_t file_bytes = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() == ".safetensors") file_bytes += entry.file_size();
  }
  const int64_t embedding = config.vocab_size * config.hidden_size;
  const int64_t positions = config.position == engine::PositionKind::kLearned
                                ? config.max_positions * config.hidden_size
                                : 0;
  const int64_t mlp = (config.gated_mlp ? 3 : 2) * config.hidden_size * config.intermediate_size;
  const int64_t attention =
      2 * config.hidden_size * config.head_dim * (config.num_heads + config.num_kv_heads);
  // Biases and norms are left out: a thousandth.
  const int64_t read = embedding + config.num_layers * (mlp + attention);
  const int64_t stored = read + positions + (config.tied_embeddings ? 0 : embedding);
  return static_cast<int64_t>(static_cast<double>(file_bytes) * static_cast<double>(read) /
                              static_cast<double>(stored));
}

}  // namespace reprise::bench
