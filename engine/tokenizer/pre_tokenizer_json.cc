#include "engine/tokenizer/pre_tokenizer_json.h"

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "cachestore/base/status_macros.h"

namespace reprise::engine {
namespace {

absl::StatusOr<SplitBehavior> ReadBehavior(const JsonField& split) {
  ASSIGN_OR_RETURN(const JsonField field, split.Get("behavior"));
  ASSIGN_OR_RETURN(const std::string name, field.AsString());
  for (const auto& [known, behavior] :
       {std::make_pair("Removed", SplitBehavior::kRemoved),
        std::make_pair("Isolated", SplitBehavior::kIsolated),
        std::make_pair("MergedWithPrevious", SplitBehavior::kMergedWithPrevious),
        std::make_pair("MergedWithNext", SplitBehavior::kMergedWithNext),
        std::make_pair("Contiguous", SplitBehavior::kContiguous)}) {
    if (name == known) return behavior;
  }
  return field.Error(absl::StrCat("unknown behavior \"", name, "\""));
}

absl::StatusOr<SplitPattern> ReadPattern(const JsonField& split) {
  ASSIGN_OR_RETURN(const JsonField field, split.Get("pattern"));
  const std::optional<JsonField> regex = field.Find("Regex");
  const std::optional<JsonField> literal = field.Find("String");
  if (!regex.has_value() && !literal.has_value()) {
    return field.Error("expected {\"Regex\": ...} or {\"String\": ...}");
  }
  const JsonField& source = regex.has_value() ? *regex : *literal;
  ASSIGN_OR_RETURN(const std::string text, source.AsString());
  absl::StatusOr<SplitPattern> pattern =
      regex.has_value() ? SplitPattern::Compile(text) : SplitPattern::CompileLiteral(text);
  if (!pattern.ok()) return source.Error(pattern.status().message());
  return pattern;
}

absl::StatusOr<PreTokenizerStage> ReadSplit(const JsonField& field) {
  ASSIGN_OR_RETURN(SplitPattern pattern, ReadPattern(field));
  ASSIGN_OR_RETURN(const SplitBehavior behavior, ReadBehavior(field));
  ASSIGN_OR_RETURN(const bool invert, field.BoolOr("invert", false));
  return SplitStage{std::move(pattern), behavior, invert ? SplitOn::kGaps : SplitOn::kMatches};
}

absl::StatusOr<PreTokenizerStage> ReadDigits(const JsonField& field) {
  ASSIGN_OR_RETURN(const bool individual, field.BoolOr("individual_digits", false));
  ASSIGN_OR_RETURN(SplitPattern pattern, SplitPattern::Compile("\\p{N}"));
  return SplitStage{std::move(pattern),
                    individual ? SplitBehavior::kIsolated : SplitBehavior::kContiguous};
}

absl::Status AppendByteLevel(const JsonField& field, std::vector<PreTokenizerStage>* stages) {
  ASSIGN_OR_RETURN(const bool add_prefix_space, field.BoolOr("add_prefix_space", true));
  ASSIGN_OR_RETURN(const bool use_regex, field.BoolOr("use_regex", true));
  if (add_prefix_space) stages->emplace_back(SpaceStage{" ", SpacePrefix::kAlways});
  if (use_regex) {
    ASSIGN_OR_RETURN(SplitPattern pattern, SplitPattern::Compile(PreTokenizer::ByteLevelPattern()));
    stages->emplace_back(SplitStage{std::move(pattern)});
  }
  return absl::OkStatus();
}

// "prepend_scheme", for which older files have "add_prefix_space".
absl::StatusOr<SpacePrefix> ReadPrefix(const JsonField& metaspace) {
  ASSIGN_OR_RETURN(const bool add_prefix_space, metaspace.BoolOr("add_prefix_space", true));
  ASSIGN_OR_RETURN(const std::string name,
                   metaspace.StringOr("prepend_scheme", add_prefix_space ? "always" : "never"));
  if (name == "always") return SpacePrefix::kAlways;
  if (name == "first") return SpacePrefix::kFirst;
  if (name == "never") return SpacePrefix::kNever;
  return metaspace.Error(absl::StrCat("unknown prepend_scheme \"", name, "\""));
}

absl::Status AppendMetaspace(const JsonField& field, std::vector<PreTokenizerStage>* stages) {
  SpaceStage stage;
  ASSIGN_OR_RETURN(stage.spelling, field.GetString("replacement"));
  if (stage.spelling.empty()) return field.Error("\"replacement\" is empty");
  ASSIGN_OR_RETURN(stage.prefix, ReadPrefix(field));
  ASSIGN_OR_RETURN(const bool split, field.BoolOr("split", true));
  ASSIGN_OR_RETURN(SplitPattern pattern, SplitPattern::CompileLiteral(stage.spelling));
  stages->emplace_back(std::move(stage));
  if (split) stages->emplace_back(SplitStage{std::move(pattern), SplitBehavior::kMergedWithNext});
  return absl::OkStatus();
}

// Appends the stages of `field`, and says what their pieces are spelt in.
absl::StatusOr<BpeAlphabet> AppendStages(const JsonField& field,
                                         std::vector<PreTokenizerStage>* stages) {
  ASSIGN_OR_RETURN(const std::string type, field.GetString("type"));
  if (type == "ByteLevel") {
    RETURN_IF_ERROR(AppendByteLevel(field, stages));
    return BpeAlphabet::kBytes;
  }
  if (type == "Metaspace") {
    RETURN_IF_ERROR(AppendMetaspace(field, stages));
  } else if (type == "Split") {
    ASSIGN_OR_RETURN(PreTokenizerStage stage, ReadSplit(field));
    stages->push_back(std::move(stage));
  } else if (type == "Digits") {
    ASSIGN_OR_RETURN(PreTokenizerStage stage, ReadDigits(field));
    stages->push_back(std::move(stage));
  } else {
    return field.Error(absl::StrCat(
        type,
        " is not supported, only ByteLevel, Metaspace, Split, Digits and sequences of these"));
  }
  return BpeAlphabet::kCharacters;
}

}  // namespace

absl::StatusOr<PreTokenizerParts> ReadPreTokenizer(const JsonField& root) {
  std::vector<PreTokenizerStage> stages;
  BpeAlphabet alphabet = BpeAlphabet::kCharacters;
  const std::optional<JsonField> field = root.Find("pre_tokenizer");
  std::vector<JsonField> elements;
  if (field.has_value()) {
    ASSIGN_OR_RETURN(const std::string type, field->GetString("type"));
    if (type == "Sequence") {
      ASSIGN_OR_RETURN(elements, field->GetElements("pretokenizers"));
    } else {
      elements = {*field};
    }
  }
  for (const JsonField& element : elements) {
    // ByteLevel spells its pieces in the byte alphabet; patterns behind it would see that.
    if (alphabet == BpeAlphabet::kBytes) return element.Error("nothing may follow ByteLevel");
    ASSIGN_OR_RETURN(alphabet, AppendStages(element, &stages));
  }
  return PreTokenizerParts{PreTokenizer(std::move(stages)), alphabet};
}

}  // namespace reprise::engine
