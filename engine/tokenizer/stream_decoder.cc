// StreamDecoder (declared in tokenizer.h).
#include "engine/text/utf8.h"
#include "engine/tokenizer/tokenizer.h"

namespace reprise::engine {

std::string StreamDecoder::Push(uint32_t id) {
  if (tokenizer_->IsSpecial(id)) return "";
  pending_ += tokenizer_->TokenBytes(id);
  std::string text;
  pending_.erase(0, AppendCompleteUtf8(pending_, &text));
  return text;
}

std::string StreamDecoder::Finish() {
  // What is pending is the start of one character.
  std::string text(pending_.empty() ? absl::string_view() : kReplacementCharacter);
  pending_.clear();
  return text;
}

}  // namespace reprise::engine
