// PreTokenizer: cuts text into the pieces that BPE works on, one after the other; no token spans
// two pieces. A list of stages as "pre_tokenizer" of tokenizer.json gives them, each applied to the
// pieces of the one before. Immutable, thread-safe.
#pragma once

#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "engine/tokenizer/split_pattern.h"

namespace reprise::engine {

// What becomes of the stretches that match a pattern and of those between them.
enum class SplitBehavior {
  kRemoved,             // matches are left out
  kIsolated,            // every match is a piece
  kMergedWithPrevious,  // a match joins the stretch before it
  kMergedWithNext,      // a match joins the stretch after it
  kContiguous,          // adjacent matches are one piece
};

// Which stretches count as matches.
enum class SplitOn { kMatches, kGaps };

struct SplitStage {
  SplitPattern pattern;
  SplitBehavior behavior = SplitBehavior::kIsolated;
  SplitOn on = SplitOn::kMatches;
};

// Which of the pieces that do not begin with a space get one.
enum class SpacePrefix { kNever, kFirst, kAlways };

// Spells spaces as `spelling`, and puts one before pieces; kFirst: before what begins the text.
struct SpaceStage {
  std::string spelling = " ";
  SpacePrefix prefix = SpacePrefix::kAlways;
};

using PreTokenizerStage = std::variant<SplitStage, SpaceStage>;

// Whether a text is where all of the text begins or behind other text, an added token perhaps.
enum class TextPlace { kStart, kInside };

// Pieces of a text: ranges of `text`, in order, none empty.
struct TextPieces {
  std::string text;
  std::vector<TextRange> ranges;
};

class PreTokenizer {
 public:
  explicit PreTokenizer(std::vector<PreTokenizerStage> stages) : stages_(std::move(stages)) {}

  // The pattern of a ByteLevel stage with use_regex.
  static absl::string_view ByteLevelPattern();

  // REQUIRES: `text` is UTF-8. kResourceExhausted: see SplitPattern::FindAll.
  absl::StatusOr<TextPieces> Split(std::string text, TextPlace place) const;

 private:
  std::vector<PreTokenizerStage> stages_;
};

}  // namespace reprise::engine
