#include "engine/tokenizer/post_processor_json.h"

#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "cachestore/base/status_macros.h"

namespace reprise::engine {
namespace {

absl::Status AppendTemplateIds(const JsonField& processor, const JsonField& piece,
                               const Vocabulary& vocabulary, std::vector<uint32_t>* ids) {
  ASSIGN_OR_RETURN(const std::string name, piece.GetString("id"));
  ASSIGN_OR_RETURN(const JsonField special_tokens, processor.Get("special_tokens"));
  ASSIGN_OR_RETURN(const JsonField token, special_tokens.Get(name));
  ASSIGN_OR_RETURN(const std::vector<JsonField> elements, token.GetElements("ids"));
  for (const JsonField& element : elements) {
    ASSIGN_OR_RETURN(const uint32_t id, element.AsIdBelow(vocabulary.size()));
    ids->push_back(id);
  }
  return absl::OkStatus();
}

absl::Status ReadTemplate(const JsonField& field, const Vocabulary& vocabulary,
                          SurroundingIds* surrounding) {
  ASSIGN_OR_RETURN(const std::vector<JsonField> pieces, field.GetElements("single"));
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
  ASSIGN_OR_RETURN(const std::string type, field.GetString("type"));
  if (type == "ByteLevel") return absl::OkStatus();
  if (type == "TemplateProcessing") return ReadTemplate(field, vocabulary, surrounding);
  if (type != "Sequence") {
    return field.Error(absl::StrCat(
        type, " is not supported, only ByteLevel, TemplateProcessing and sequences of these"));
  }
  ASSIGN_OR_RETURN(const std::vector<JsonField> elements, field.GetElements("processors"));
  for (const JsonField& element : elements) {
    RETURN_IF_ERROR(ReadProcessor(element, vocabulary, surrounding));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<SurroundingIds> ReadPostProcessor(const JsonField& root,
                                                 const Vocabulary& vocabulary) {
  SurroundingIds surrounding;
  const std::optional<JsonField> field = root.Find("post_processor");
  if (!field.has_value()) return surrounding;
  RETURN_IF_ERROR(ReadProcessor(*field, vocabulary, &surrounding));
  return surrounding;
}

}  // namespace reprise::engine
