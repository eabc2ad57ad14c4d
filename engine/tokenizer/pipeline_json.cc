#include "engine/tokenizer/pipeline_json.h"

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "cachestore/base/status_macros.h"

namespace reprise::engine {
namespace {

absl::StatusOr<std::string> TypeOf(const JsonField& field) {
  ASSIGN_OR_RETURN(const JsonField type, field.Get("type"));
  return type.AsString();
}

absl::Status Unsupported(const JsonField& field, absl::string_view type,
                         absl::string_view supported) {
  return field.Error(absl::StrCat(type, " is not supported, only ", supported));
}

// The elements of the array `key` of a Sequence.
absl::StatusOr<std::vector<JsonField>> ElementsOf(const JsonField& sequence,
                                                  absl::string_view key) {
  ASSIGN_OR_RETURN(const JsonField field, sequence.Get(key));
  ASSIGN_OR_RETURN(const nlohmann::json* const array, field.AsArray());
  std::vector<JsonField> elements;
  for (size_t i = 0; i < array->size(); ++i) elements.push_back(field.At(i));
  return elements;
}

absl::StatusOr<Normalizer::Form> ReadForm(const JsonField& field) {
  ASSIGN_OR_RETURN(const std::string type, TypeOf(field));
  if (type == "NFC") return Normalizer::Form::kNfc;
  if (type != "Sequence") return Unsupported(field, type, "NFC and sequences of it");
  ASSIGN_OR_RETURN(const std::vector<JsonField> elements, ElementsOf(field, "normalizers"));
  Normalizer::Form form = Normalizer::Form::kNone;
  for (const JsonField& element : elements) {
    // NFC of NFC is itself: once is enough.
    ASSIGN_OR_RETURN(const Normalizer::Form inner, ReadForm(element));
    if (inner == Normalizer::Form::kNfc) form = inner;
  }
  return form;
}

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
  if (add_prefix_space) stages->emplace_back(SpacePrefixStage{});
  if (use_regex) {
    ASSIGN_OR_RETURN(SplitPattern pattern, SplitPattern::Compile(PreTokenizer::ByteLevelPattern()));
    stages->emplace_back(SplitStage{std::move(pattern)});
  }
  return absl::OkStatus();
}

absl::Status AppendTemplateIds(const JsonField& processor, const JsonField& piece,
                               const Vocabulary& vocabulary, std::vector<uint32_t>* ids) {
  ASSIGN_OR_RETURN(const JsonField name_field, piece.Get("id"));
  ASSIGN_OR_RETURN(const std::string name, name_field.AsString());
  ASSIGN_OR_RETURN(const JsonField special_tokens, processor.Get("special_tokens"));
  ASSIGN_OR_RETURN(const JsonField token, special_tokens.Get(name));
  ASSIGN_OR_RETURN(const std::vector<JsonField> elements, ElementsOf(token, "ids"));
  for (const JsonField& element : elements) {
    ASSIGN_OR_RETURN(const uint32_t id, element.AsIdBelow(vocabulary.size()));
    ids->push_back(id);
  }
  return absl::OkStatus();
}

absl::Status ReadTemplate(const JsonField& field, const Vocabulary& vocabulary,
                          SurroundingIds* surrounding) {
  ASSIGN_OR_RETURN(const std::vector<JsonField> pieces, ElementsOf(field, "single"));
  int num_texts = 0;
  SurroundingIds own;
  for (const JsonField& piece : pieces) {
    const std::optional<JsonField> special = piece.Find("SpecialToken");
    if (special.has_value()) {
      RETURN_IF_ERROR(AppendTemplateIds(field, *special, vocabulary,
                                        num_texts == 0 ? &own.leading : &own.trailing));
    } else if (piece.Find("Sequence").has_value()) {
      ++num_texts;
    } else {
      return piece.Error("expected SpecialToken or Sequence");
    }
  }
  if (num_texts != 1) {
    return field.Error(absl::StrCat("\"single\" has ", num_texts, " places for the text, not 1"));
  }
  // A later processor of a sequence works on what the earlier ones made.
  surrounding->leading.insert(surrounding->leading.begin(), own.leading.begin(), own.leading.end());
  surrounding->trailing.insert(surrounding->trailing.end(), own.trailing.begin(),
                               own.trailing.end());
  return absl::OkStatus();
}

absl::Status ReadProcessor(const JsonField& field, const Vocabulary& vocabulary,
                           SurroundingIds* surrounding) {
  ASSIGN_OR_RETURN(const std::string type, TypeOf(field));
  if (type == "ByteLevel") return absl::OkStatus();
  if (type == "TemplateProcessing") return ReadTemplate(field, vocabulary, surrounding);
  if (type != "Sequence") {
    return Unsupported(field, type, "ByteLevel, TemplateProcessing and sequences of these");
  }
  ASSIGN_OR_RETURN(const std::vector<JsonField> elements, ElementsOf(field, "processors"));
  for (const JsonField& element : elements) {
    RETURN_IF_ERROR(ReadProcessor(element, vocabulary, surrounding));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Normalizer> ReadNormalizer(const JsonField& root) {
  const std::optional<JsonField> field = root.Find("normalizer");
  if (!field.has_value()) return Normalizer(Normalizer::Form::kNone);
  ASSIGN_OR_RETURN(const Normalizer::Form form, ReadForm(*field));
  return Normalizer(form);
}

absl::StatusOr<PreTokenizer> ReadPreTokenizer(const JsonField& root) {
  ASSIGN_OR_RETURN(const JsonField field, root.Get("pre_tokenizer"));
  ASSIGN_OR_RETURN(const std::string outer_type, TypeOf(field));
  std::vector<JsonField> elements = {field};
  if (outer_type == "Sequence") {
    ASSIGN_OR_RETURN(elements, ElementsOf(field, "pretokenizers"));
  }
  std::vector<PreTokenizerStage> stages;
  std::string type;
  for (const JsonField& element : elements) {
    // ByteLevel spells its pieces in the byte alphabet; patterns behind it would see that.
    if (type == "ByteLevel") return element.Error("nothing may follow ByteLevel");
    ASSIGN_OR_RETURN(type, TypeOf(element));
    if (type == "ByteLevel") {
      RETURN_IF_ERROR(AppendByteLevel(element, &stages));
    } else if (type == "Split") {
      ASSIGN_OR_RETURN(PreTokenizerStage stage, ReadSplit(element));
      stages.push_back(std::move(stage));
    } else if (type == "Digits") {
      ASSIGN_OR_RETURN(PreTokenizerStage stage, ReadDigits(element));
      stages.push_back(std::move(stage));
    } else {
      return Unsupported(element, type, "ByteLevel, Split, Digits and sequences of these");
    }
  }
  if (type != "ByteLevel") {
    return field.Error("no ByteLevel: only byte-level BPE tokenizers are supported");
  }
  return PreTokenizer(std::move(stages));
}

absl::StatusOr<SurroundingIds> ReadPostProcessor(const JsonField& root,
                                                 const Vocabulary& vocabulary) {
  SurroundingIds surrounding;
  const std::optional<JsonField> field = root.Find("post_processor");
  if (!field.has_value()) return surrounding;
  RETURN_IF_ERROR(ReadProcessor(*field, vocabulary, &surrounding));
  return surrounding;
}

absl::Status CheckDecoder(const JsonField& root) {
  ASSIGN_OR_RETURN(const JsonField field, root.Get("decoder"));
  ASSIGN_OR_RETURN(const std::string type, TypeOf(field));
  if (type != "ByteLevel") return Unsupported(field, type, "ByteLevel");
  return absl::OkStatus();
}

}  // namespace reprise::engine
