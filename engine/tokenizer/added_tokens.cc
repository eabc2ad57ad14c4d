#include "engine/tokenizer/added_tokens.h"

#include <algorithm>
#include <utility>

#include "engine/tokenizer/character_class.h"

namespace reprise::engine {

void AddedTokens::Trie::Add(absl::string_view key, uint32_t value) {
  uint32_t node = 0;
  for (const char c : key) {
    const uint64_t edge = static_cast<uint64_t>(node) << 8 | static_cast<uint8_t>(c);
    const auto [child, is_new] = children_.try_emplace(edge, values_.size());
    if (is_new) values_.push_back(kNoValue);
    node = child->second;
  }
  values_[node] = value;
}

std::optional<AddedTokens::Trie::Match> AddedTokens::Trie::LongestAt(absl::string_view text) const {
  std::optional<Match> longest;
  uint32_t node = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto child =
        children_.find(static_cast<uint64_t>(node) << 8 | static_cast<uint8_t>(text[i]));
    if (child == children_.end()) break;
    node = child->second;
    if (values_[node] != kNoValue) longest = Match{values_[node], i + 1};
  }
  return longest;
}

AddedTokens::AddedTokens(std::vector<AddedToken> tokens, const Normalizer& normalizer)
    : tokens_(std::move(tokens)) {
  for (uint32_t i = 0; i < tokens_.size(); ++i) {
    if (tokens_[i].normalized) {
      normalized_.Add(normalizer.Normalize(MarkedText(tokens_[i].content)).text(), i);
    } else {
      raw_.Add(tokens_[i].content, i);
    }
  }
}

std::vector<AddedTokens::Span> AddedTokens::SplitRaw(const MarkedText& text) const {
  return Split(raw_, text);
}

std::vector<AddedTokens::Span> AddedTokens::SplitNormalized(const MarkedText& text) const {
  return Split(normalized_, text);
}

std::vector<AddedTokens::Span> AddedTokens::Split(const Trie& trie,
                                                  const MarkedText& marked) const {
  const absl::string_view text = marked.text();
  std::vector<Span> spans;
  size_t end_of_last = 0;
  for (size_t i = 0; i < text.size();) {
    const std::optional<Trie::Match> match = trie.LongestAt(text.substr(i));
    if (!match.has_value()) {
      ++i;
      continue;
    }
    const AddedToken& token = tokens_[match->value];
    size_t begin = i;
    size_t end = i + match->num_bytes;
    if (token.special && marked.TouchesPlain({begin, end})) {
      // A match that does not count hides shorter ones inside of it all the same, but never one
      // that is written behind plain bytes.
      i = marked.IsPlain({begin, end}) ? end : begin + 1;
      continue;
    }
    i = end;
    if (token.single_word && (EndsWithWordCharacter(text.substr(0, begin)) ||
                              StartsWithWordCharacter(text.substr(end)))) {
      continue;
    }
    if (token.lstrip) {
      // White space that the token before has taken stays with it.
      begin = std::max(begin - TrailingSpaceBytes(text.substr(0, begin)), end_of_last);
    }
    if (token.rstrip) end += LeadingSpaceBytes(text.substr(end));
    if (end_of_last < begin) spans.push_back({{end_of_last, begin}, std::nullopt});
    spans.push_back({{begin, end}, token.id});
    end_of_last = end;
  }
  if (end_of_last < text.size()) spans.push_back({{end_of_last, text.size()}, std::nullopt});
  return spans;
}

}  // namespace reprise::engine
