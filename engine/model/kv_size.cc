#include "engine/model/kv_size.h"

#include <filesystem>
#include <limits>
#include <system_error>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "cachestore/base/status_macros.h"
#include "engine/backend/kv_format.h"
#include "engine/model/model_config.h"

namespace reprise::engine {
namespace {

absl::Status CheckPositive(const char* what, int64_t value) {
  if (value > 0) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(what, " is ", value, "; it must be above 0"));
}

KvVariant Variant(const KvGeometry& geometry, int64_t kv_heads) {
  KvVariant variant;
  variant.name = kv_heads == geometry.num_heads ? "MHA"
                 : kv_heads == 1                ? "MQA"
                                                : absl::StrCat("GQA-", kv_heads);
  variant.geometry = geometry;
  variant.geometry.num_kv_heads = kv_heads;
  variant.is_own = kv_heads == geometry.num_kv_heads;
  return variant;
}

// K and V of one token in one layer for one kv head, elements and scales.
absl::StatusOr<int64_t> PairBytes(int64_t head_dim, cachestore::DType dtype) {
  if (head_dim > std::numeric_limits<int32_t>::max()) {
    return absl::InvalidArgumentError(
        absl::StrCat("head dim is ", head_dim, "; that is too large"));
  }
  cachestore::KvLayout layout;
  layout.num_layers = layout.num_kv_heads = layout.block_tokens = 1;
  layout.head_dim = static_cast<int32_t>(head_dim);
  layout = WithDType(layout, dtype);
  RETURN_IF_ERROR(layout.Validate());
  return static_cast<int64_t>(layout.BytesPerBlock());
}

}  // namespace

absl::StatusOr<int64_t> KvBytes(const KvGeometry& geometry, const KvLoad& load) {
  const struct {
    const char* what;
    int64_t value;
  } factors[] = {{"number of layers", geometry.num_layers},
                 {"number of kv heads", geometry.num_kv_heads},
                 {"number of tokens", load.tokens},
                 {"batch", load.batch}};
  RETURN_IF_ERROR(CheckPositive("head dim", geometry.head_dim));
  ASSIGN_OR_RETURN(int64_t product, PairBytes(geometry.head_dim, load.dtype));
  for (const auto& factor : factors) {
    RETURN_IF_ERROR(CheckPositive(factor.what, factor.value));
    if (__builtin_mul_overflow(product, factor.value, &product)) {
      return absl::InvalidArgumentError(absl::StrCat("the KV of ", load.batch, " x ", load.tokens,
                                                     " tokens of ", geometry.name,
                                                     " is more than 2^63 bytes"));
    }
  }
  return product;
}

std::vector<KvVariant> KvVariants(const KvGeometry& geometry) {
  constexpr int64_t kUsualGroups = 8;
  std::vector<KvVariant> variants = {Variant(geometry, geometry.num_heads)};
  const bool is_grouped = geometry.num_kv_heads > 1 && geometry.num_kv_heads < geometry.num_heads;
  const int64_t groups = is_grouped ? geometry.num_kv_heads : kUsualGroups;
  if (groups < geometry.num_heads && geometry.num_heads % groups == 0) {
    variants.push_back(Variant(geometry, groups));
  }
  if (geometry.num_heads > 1) variants.push_back(Variant(geometry, 1));
  return variants;
}

absl::Span<const KvGeometry> KvPresets() {
  // Layers, heads, kv heads and head dim as in the config.json of each model's repository (named at
  // the end of the line); GPT-2's are n_layer, n_head, n_head, n_embd / n_head. Layers with a
  // window count in full: their KV is kept for every token.
  static const auto* const presets = new std::vector<KvGeometry>{
      {"llama-7b", 32, 32, 32, 128},        // huggyllama/llama-7b; Llama 2 7B is the same
      {"llama-13b", 40, 40, 40, 128},       // huggyllama/llama-13b; Llama 2 13B is the same
      {"llama-70b", 80, 64, 8, 128},        // meta-llama/Llama-2-70b-hf; 3 and 3.1 are the same
      {"llama3-8b", 32, 32, 8, 128},        // meta-llama/Meta-Llama-3-8B
      {"llama3.1-8b", 32, 32, 8, 128},      // meta-llama/Llama-3.1-8B
      {"llama3.1-70b", 80, 64, 8, 128},     // meta-llama/Llama-3.1-70B; 3.3 is the same
      {"llama3.2-1b", 16, 32, 8, 64},       // meta-llama/Llama-3.2-1B
      {"llama3.2-3b", 28, 24, 8, 128},      // meta-llama/Llama-3.2-3B
      {"llama3.1-405b", 126, 128, 8, 128},  // meta-llama/Llama-3.1-405B
      {"mistral-7b", 32, 32, 8, 128},       // mistralai/Mistral-7B-v0.3; v0.1 is the same
      {"mixtral-8x7b", 32, 32, 8, 128},     // mistralai/Mixtral-8x7B-v0.1
      {"mixtral-8x22b", 56, 48, 8, 128},    // mistralai/Mixtral-8x22B-v0.1
      {"gpt2", 12, 12, 12, 64},             // openai-community/gpt2
      {"gpt2-medium", 24, 16, 16, 64},      // openai-community/gpt2-medium
      {"gpt2-large", 36, 20, 20, 64},       // openai-community/gpt2-large
      {"gpt2-xl", 48, 25, 25, 64},          // openai-community/gpt2-xl
      {"qwen2.5-0.5b", 24, 14, 2, 64},      // Qwen/Qwen2.5-0.5B
      {"qwen2.5-1.5b", 28, 12, 2, 128},     // Qwen/Qwen2.5-1.5B
      {"qwen2.5-3b", 36, 16, 2, 128},       // Qwen/Qwen2.5-3B
      {"qwen2.5-7b", 28, 28, 4, 128},       // Qwen/Qwen2.5-7B
      {"qwen2.5-14b", 48, 40, 8, 128},      // Qwen/Qwen2.5-14B
      {"qwen2.5-32b", 64, 40, 8, 128},      // Qwen/Qwen2.5-32B
      {"qwen2.5-72b", 80, 64, 8, 128},      // Qwen/Qwen2.5-72B
      {"qwen3-0.6b", 28, 16, 8, 128},       // Qwen/Qwen3-0.6B; 1.7B is the same
      {"qwen3-4b", 36, 32, 8, 128},         // Qwen/Qwen3-4B; 8B is the same
      {"qwen3-14b", 40, 40, 8, 128},        // Qwen/Qwen3-14B
      {"qwen3-32b", 64, 64, 8, 128},        // Qwen/Qwen3-32B
      {"qwen3-30b-a3b", 48, 32, 4, 128},    // Qwen/Qwen3-30B-A3B
      {"qwen3-235b-a22b", 94, 64, 4, 128},  // Qwen/Qwen3-235B-A22B
      {"gemma2-2b", 26, 8, 4, 256},         // google/gemma-2-2b
      {"gemma2-9b", 42, 16, 8, 256},        // google/gemma-2-9b
      {"gemma2-27b", 46, 32, 16, 128},      // google/gemma-2-27b
      {"gemma3-270m", 18, 4, 1, 256},       // google/gemma-3-270m
      {"gemma3-1b", 26, 4, 1, 256},         // google/gemma-3-1b-pt
      {"gemma3-4b", 34, 8, 4, 256},         // google/gemma-3-4b-pt
      {"gemma3-12b", 48, 16, 8, 256},       // google/gemma-3-12b-pt
      {"gemma3-27b", 62, 32, 16, 128},      // google/gemma-3-27b-pt
  };
  return *presets;
}

absl::StatusOr<KvGeometry> FindKvGeometry(const std::string& preset_or_folder) {
  std::string known;
  for (const KvGeometry& preset : KvPresets()) {
    if (preset.name == preset_or_folder) return preset;
    absl::StrAppend(&known, known.empty() ? "" : ", ", preset.name);
  }
  std::error_code error;
  if (!std::filesystem::is_directory(preset_or_folder, error)) {
    return absl::InvalidArgumentError(absl::StrCat("\"", preset_or_folder,
                                                   "\" is neither a model "
                                                   "folder nor a preset; presets: ",
                                                   known));
  }
  ASSIGN_OR_RETURN(const ModelConfig config, ReadModelConfig(preset_or_folder));
  return KvGeometry{preset_or_folder, config.num_layers, config.num_heads, config.num_kv_heads,
                    config.head_dim};
}

}  // namespace reprise::engine
