#include "engine/model/model_config.h"

#include <filesystem>
#include <system_error>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "cachestore/base/status_macros.h"
#include "engine/model/families/family.h"
#include "engine/model/json_object.h"
#include "engine/model/model_refusals.h"

namespace reprise::engine {
namespace {

constexpr int64_t kMostConfigBytes = 16 << 20;
constexpr JsonObject::Range kVocabRange = {1, 1 << 24};

absl::StatusOr<std::string> ReadArchitecture(const JsonObject& config) {
  if (!config.Has("architectures")) return config.Error("architectures", "is missing");
  const nlohmann::json& list = config.value().at("architectures");
  if (!list.is_array() || list.size() != 1 || !list[0].is_string()) {
    return config.Error("architectures",
                        absl::StrCat("is ", ShortDump(list), "; it must be a list of one name"));
  }
  return list[0].get<std::string>();
}

// Fills eos_token_ids from `config`; leaves them when it has none.
absl::Status ReadEosTokens(const JsonObject& config, ModelConfig* out) {
  constexpr char kField[] = "eos_token_id";
  if (!config.Has(kField)) return absl::OkStatus();
  const nlohmann::json& field = config.value().at(kField);
  const nlohmann::json list = field.is_array() ? field : nlohmann::json::array({field});
  std::vector<uint32_t> ids;
  for (const nlohmann::json& id : list) {
    if (!id.is_number_unsigned() || id.get<uint64_t>() >= static_cast<uint64_t>(out->vocab_size)) {
      return config.Error(kField, absl::StrCat("has ", ShortDump(id), "; a token id is from 0 to ",
                                               out->vocab_size - 1));
    }
    ids.push_back(id.get<uint32_t>());
  }
  out->eos_token_ids = std::move(ids);
  return absl::OkStatus();
}

absl::Status ReadGenerationConfig(const std::string& path, ModelConfig* out) {
  std::error_code error;
  if (!std::filesystem::exists(path, error)) return absl::OkStatus();
  ASSIGN_OR_RETURN(const JsonObject generation, JsonObject::ReadFile(path, kMostConfigBytes));
  return ReadEosTokens(generation, out);
}

}  // namespace

cachestore::KvLayout KvLayoutOf(const ModelConfig& config, int32_t block_tokens) {
  cachestore::KvLayout layout;
  layout.num_layers = static_cast<int32_t>(config.num_layers);
  layout.num_kv_heads = static_cast<int32_t>(config.num_kv_heads);
  layout.head_dim = static_cast<int32_t>(config.head_dim);
  layout.block_tokens = block_tokens;
  layout.dtype = cachestore::DType::kF32;
  return layout;
}

std::string SupportedArchitectures() {
  std::string names;
  for (const Family& family : Families()) {
    absl::StrAppend(&names, names.empty() ? "" : ", ", family.architecture);
  }
  return names;
}

absl::StatusOr<ModelConfig> ReadModelConfig(const std::string& folder) {
  ASSIGN_OR_RETURN(const JsonObject config,
                   JsonObject::ReadFile(absl::StrCat(folder, "/config.json"), kMostConfigBytes));
  ModelConfig out;
  ASSIGN_OR_RETURN(out.architecture, ReadArchitecture(config));
  RETURN_IF_ERROR(RefuseEncoder(config, out.architecture));
  RETURN_IF_ERROR(RefuseMovingPositions(config));
  if (config.Has("quantization_config")) {
    return config.Error("quantization_config", "is there; quantised weights are not supported");
  }
  for (const Family& family : Families()) {
    if (out.architecture != family.architecture) continue;
    ASSIGN_OR_RETURN(out.vocab_size, config.Int("vocab_size", kVocabRange));
    RETURN_IF_ERROR(family.read(config, &out));
    RETURN_IF_ERROR(ReadEosTokens(config, &out));
    RETURN_IF_ERROR(ReadGenerationConfig(absl::StrCat(folder, "/generation_config.json"), &out));
    return out;
  }
  return absl::InvalidArgumentError(
      absl::StrCat(config.origin(), ": architecture ", ShortDump(out.architecture),
                   " is not supported; supported: ", SupportedArchitectures()));
}

}  // namespace reprise::engine
