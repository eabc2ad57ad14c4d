#include "engine/tokenizer/normalizer_json.h"

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "cachestore/base/status_macros.h"

namespace reprise::engine {
namespace {

absl::Status AppendStages(const JsonField& field, std::vector<NormalizerStage>* stages) {
  ASSIGN_OR_RETURN(const std::string type, field.GetString("type"));
  if (type == "NFC") {
    stages->emplace_back(NfcStage{});
  } else if (type == "Prepend") {
    ASSIGN_OR_RETURN(std::string prefix, field.GetString("prepend"));
    stages->emplace_back(PrependStage{std::move(prefix)});
  } else if (type == "Replace") {
    ASSIGN_OR_RETURN(ReplaceStage stage, ReadReplace(field));
    stages->emplace_back(std::move(stage));
  } else if (type == "Sequence") {
    ASSIGN_OR_RETURN(const std::vector<JsonField> elements, field.GetElements("normalizers"));
    for (const JsonField& element : elements) RETURN_IF_ERROR(AppendStages(element, stages));
  } else {
    return field.Error(
        absl::StrCat(type, " is not supported, only NFC, Prepend, Replace and sequences of these"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ReplaceStage> ReadReplace(const JsonField& replace) {
  ASSIGN_OR_RETURN(const JsonField pattern, replace.Get("pattern"));
  if (pattern.Find("Regex").has_value()) {
    return pattern.Error("Regex is not supported in Replace, only String");
  }
  ReplaceStage stage;
  ASSIGN_OR_RETURN(stage.from, pattern.GetString("String"));
  ASSIGN_OR_RETURN(stage.to, replace.GetString("content"));
  if (stage.from.empty()) return pattern.Error("an empty text cannot be replaced");
  return stage;
}

absl::StatusOr<Normalizer> ReadNormalizer(const JsonField& root) {
  std::vector<NormalizerStage> stages;
  const std::optional<JsonField> field = root.Find("normalizer");
  if (field.has_value()) RETURN_IF_ERROR(AppendStages(*field, &stages));
  return Normalizer(std::move(stages));
}

}  // namespace reprise::engine
