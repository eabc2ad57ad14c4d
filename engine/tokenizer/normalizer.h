// Normalizer: the "normalizer" of tokenizer.json: a list of stages, each applied to what the one
// before made. Immutable, thread-safe.
#pragma once

#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/string_view.h"
#include "engine/text/marked_text.h"

namespace reprise::engine {

// Unicode NFC.
struct NfcStage {};
// Puts `prefix` before a text that is not empty.
struct PrependStage {
  std::string prefix;
};
// Writes `to` for each `from`, which is not empty.
struct ReplaceStage {
  std::string from;
  std::string to;
};

using NormalizerStage = std::variant<NfcStage, PrependStage, ReplaceStage>;

class Normalizer {
 public:
  explicit Normalizer(std::vector<NormalizerStage> stages) : stages_(std::move(stages)) {}

  // What becomes of plain bytes is plain. REQUIRES: `text` is UTF-8.
  MarkedText Normalize(MarkedText text) const;

 private:
  std::vector<NormalizerStage> stages_;
};

}  // namespace reprise::engine
