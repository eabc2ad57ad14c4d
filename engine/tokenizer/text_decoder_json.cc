#include "engine/tokenizer/text_decoder_json.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "cachestore/base/status_macros.h"
#include "engine/tokenizer/normalizer_json.h"

namespace reprise::engine {
namespace {

// More than any file strips.
constexpr uint32_t kMostStripped = 1024;

// Reads the decoders of a sequence, first to last. Only this order can be applied to one token
// after the other: what is fused and stripped is no longer a token.
class CharacterDecoderReader {
 public:
  absl::Status Read(const JsonField& field) {
    ASSIGN_OR_RETURN(const std::string type, field.GetString("type"));
    if (type == "Sequence") {
      ASSIGN_OR_RETURN(const std::vector<JsonField> elements, field.GetElements("decoders"));
      for (const JsonField& element : elements) RETURN_IF_ERROR(Read(element));
      return absl::OkStatus();
    }
    if (type == "Replace") {
      RETURN_IF_ERROR(Enter(Phase::kReplace, field, type));
      ASSIGN_OR_RETURN(ReplaceStage stage, ReadReplace(field));
      stages_.emplace_back(std::move(stage));
      return absl::OkStatus();
    }
    if (type == "ByteFallback") {
      RETURN_IF_ERROR(Enter(Phase::kBytes, field, type));
      stages_.emplace_back(ByteTokenStage{});
      return absl::OkStatus();
    }
    if (type == "Fuse") return Enter(Phase::kFuse, field, type);
    if (type == "Strip") return ReadStrip(field);
    return field.Error(absl::StrCat(type,
                                    " is not supported, only Replace, ByteFallback, Fuse, Strip "
                                    "and sequences of these, or ByteLevel for byte-level BPE"));
  }

  TextDecoder Take() && {
    return TextDecoder(std::move(stages_), std::move(stripped_), most_stripped_);
  }

 private:
  enum class Phase { kReplace, kBytes, kFuse, kStrip };

  absl::Status Enter(Phase phase, const JsonField& field, const std::string& type) {
    if (phase < phase_) {
      return field.Error(absl::StrCat(type,
                                      " cannot stand here: the order that is supported is "
                                      "Replace, ByteFallback, Fuse, Strip"));
    }
    phase_ = phase;
    return absl::OkStatus();
  }

  absl::Status ReadStrip(const JsonField& field) {
    if (phase_ != Phase::kFuse) return field.Error("Strip is supported right behind Fuse only");
    RETURN_IF_ERROR(Enter(Phase::kStrip, field, "Strip"));
    ASSIGN_OR_RETURN(stripped_, field.GetString("content"));
    ASSIGN_OR_RETURN(const JsonField start, field.Get("start"));
    ASSIGN_OR_RETURN(most_stripped_, start.AsIdBelow(kMostStripped));
    ASSIGN_OR_RETURN(const JsonField stop, field.Get("stop"));
    ASSIGN_OR_RETURN(const uint32_t stop_count, stop.AsIdBelow(kMostStripped));
    if (stop_count != 0) return stop.Error("only 0: the end of a streamed text is not known");
    if (stripped_.empty()) return field.Error("\"content\" is empty");
    return absl::OkStatus();
  }

  Phase phase_ = Phase::kReplace;
  std::vector<DecoderStage> stages_;
  std::string stripped_;
  size_t most_stripped_ = 0;
};

}  // namespace

absl::StatusOr<TextDecoder> ReadTextDecoder(const JsonField& root, BpeAlphabet alphabet) {
  ASSIGN_OR_RETURN(const JsonField field, root.Get("decoder"));
  if (alphabet == BpeAlphabet::kBytes) {
    ASSIGN_OR_RETURN(const std::string type, field.GetString("type"));
    if (type == "ByteLevel") return TextDecoder({ByteAlphabetStage{}});
    return field.Error(absl::StrCat(type, " is not supported, only ByteLevel for byte-level BPE"));
  }
  CharacterDecoderReader reader;
  RETURN_IF_ERROR(reader.Read(field));
  return std::move(reader).Take();
}

}  // namespace reprise::engine
