#include "engine/tokenizer/pre_tokenizer.h"

#include <algorithm>
#include <cstddef>

#include "absl/strings/match.h"
#include "absl/strings/str_replace.h"
#include "cachestore/base/status_macros.h"

namespace reprise::engine {
namespace {

struct Stretch {
  TextRange range;
  bool is_match;
};

// All `num_bytes` bytes of a piece, as matches and the gaps between them.
std::vector<Stretch> Stretches(const std::vector<TextRange>& matches, size_t num_bytes,
                               SplitOn on) {
  const bool is_match = on == SplitOn::kMatches;
  std::vector<Stretch> stretches;
  size_t end = 0;
  for (const TextRange& match : matches) {
    if (match.begin != end) stretches.push_back({{end, match.begin}, !is_match});
    stretches.push_back({match, is_match});
    end = match.end;
  }
  if (end != num_bytes) stretches.push_back({{end, num_bytes}, !is_match});
  return stretches;
}

void DropMatches(std::vector<Stretch>* stretches) {
  std::erase_if(*stretches, [](const Stretch& stretch) { return stretch.is_match; });
}

void JoinAlike(std::vector<Stretch>* stretches) {
  std::vector<Stretch> joined;
  for (const Stretch& stretch : *stretches) {
    if (!joined.empty() && joined.back().is_match == stretch.is_match) {
      joined.back().range.end = stretch.range.end;
    } else {
      joined.push_back(stretch);
    }
  }
  *stretches = std::move(joined);
}

// Each match joins the gap before it. A second match in a row stays alone.
void JoinPrevious(std::vector<Stretch>* stretches) {
  std::vector<Stretch> joined;
  bool follows_match = false;
  for (const Stretch& stretch : *stretches) {
    if (stretch.is_match && !follows_match && !joined.empty()) {
      joined.back().range.end = stretch.range.end;
    } else {
      joined.push_back(stretch);
    }
    follows_match = stretch.is_match;
  }
  *stretches = std::move(joined);
}

void JoinNext(std::vector<Stretch>* stretches) {
  std::vector<Stretch> joined;  // from right to left
  bool precedes_match = false;
  for (auto stretch = stretches->rbegin(); stretch != stretches->rend(); ++stretch) {
    if (stretch->is_match && !precedes_match && !joined.empty()) {
      joined.back().range.begin = stretch->range.begin;
    } else {
      joined.push_back(*stretch);
    }
    precedes_match = stretch->is_match;
  }
  std::reverse(joined.begin(), joined.end());
  *stretches = std::move(joined);
}

absl::Status Apply(const SplitStage& stage, TextPlace, TextPieces* pieces) {
  std::vector<TextRange> cut;
  std::vector<TextRange> matches;
  for (const TextRange& piece : pieces->ranges) {
    const size_t num_bytes = piece.end - piece.begin;
    matches.clear();
    RETURN_IF_ERROR(stage.pattern.FindAll(
        absl::string_view(pieces->text).substr(piece.begin, num_bytes), &matches));
    std::vector<Stretch> stretches = Stretches(matches, num_bytes, stage.on);
    switch (stage.behavior) {
      case SplitBehavior::kRemoved:
        DropMatches(&stretches);
        break;
      case SplitBehavior::kIsolated:
        break;
      case SplitBehavior::kMergedWithPrevious:
        JoinPrevious(&stretches);
        break;
      case SplitBehavior::kMergedWithNext:
        JoinNext(&stretches);
        break;
      case SplitBehavior::kContiguous:
        JoinAlike(&stretches);
        break;
    }
    for (const Stretch& stretch : stretches) {
      if (stretch.range.begin == stretch.range.end) continue;
      cut.push_back({piece.begin + stretch.range.begin, piece.begin + stretch.range.end});
    }
  }
  pieces->ranges = std::move(cut);
  return absl::OkStatus();
}

absl::Status Apply(const SpaceStage& stage, TextPlace place, TextPieces* pieces) {
  TextPieces spaced;
  for (const TextRange& piece : pieces->ranges) {
    const absl::string_view source =
        absl::string_view(pieces->text).substr(piece.begin, piece.end - piece.begin);
    const std::string text = absl::StrReplaceAll(source, {{" ", stage.spelling}});
    const bool is_first = piece.begin == 0 && place == TextPlace::kStart;
    const bool takes_prefix =
        stage.prefix == SpacePrefix::kAlways || (stage.prefix == SpacePrefix::kFirst && is_first);
    const size_t begin = spaced.text.size();
    if (takes_prefix && !absl::StartsWith(text, stage.spelling)) spaced.text += stage.spelling;
    spaced.text += text;
    spaced.ranges.push_back({begin, spaced.text.size()});
  }
  *pieces = std::move(spaced);
  return absl::OkStatus();
}

}  // namespace

absl::string_view PreTokenizer::ByteLevelPattern() {
  return R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
}

absl::StatusOr<TextPieces> PreTokenizer::Split(std::string text, TextPlace place) const {
  TextPieces pieces;
  if (!text.empty()) pieces.ranges.push_back({0, text.size()});
  pieces.text = std::move(text);
  for (const PreTokenizerStage& stage : stages_) {
    RETURN_IF_ERROR(std::visit([&](const auto& s) { return Apply(s, place, &pieces); }, stage));
  }
  return pieces;
}

}  // namespace reprise::engine
