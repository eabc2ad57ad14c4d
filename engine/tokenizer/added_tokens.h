// AddedTokens: the tokens that are found in a text as they are written, before BPE: the
// "added_tokens" of tokenizer.json, special ones and others. Immutable, thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "engine/text/marked_text.h"
#include "engine/tokenizer/normalizer.h"

namespace reprise::engine {

struct AddedToken {
  uint32_t id = 0;
  std::string content;       // not empty, UTF-8
  bool single_word = false;  // only where no letter, digit or the like touches it
  bool lstrip = false;       // takes the white space before it
  bool rstrip = false;       // takes the white space behind it
  bool normalized = false;   // looked for, normalized, in the normalized text
  bool special = false;      // controls the model, is not part of its text
};

class AddedTokens {
 public:
  // A stretch of text: one added token, or text between them.
  struct Span {
    TextRange range;
    std::optional<uint32_t> id;
  };

  AddedTokens(std::vector<AddedToken> tokens, const Normalizer& normalizer);

  // Cuts `text`, not normalized yet, at the tokens looked for in such text, the longest one where
  // several begin at the same place; a special token counts where none of its bytes is plain.
  // Spans are in order and cover all of `text`. REQUIRES: `text` is UTF-8.
  std::vector<Span> SplitRaw(const MarkedText& text) const;
  // The same for text that is normalized.
  std::vector<Span> SplitNormalized(const MarkedText& text) const;

  const std::vector<AddedToken>& tokens() const { return tokens_; }

 private:
  // Finds the longest of a set of strings at a place in a text.
  class Trie {
   public:
    // `value` must differ from kNoValue.
    void Add(absl::string_view key, uint32_t value);
    struct Match {
      uint32_t value;
      size_t num_bytes;
    };
    std::optional<Match> LongestAt(absl::string_view text) const;

   private:
    static constexpr uint32_t kNoValue = UINT32_MAX;
    absl::flat_hash_map<uint64_t, uint32_t> children_;  // node << 8 | byte to node; 0 is the root
    std::vector<uint32_t> values_ = {kNoValue};         // by node
  };

  std::vector<Span> Split(const Trie& trie, const MarkedText& marked) const;

  std::vector<AddedToken> tokens_;
  Trie raw_;  // values are indices into tokens_
  Trie normalized_;
};

}  // namespace reprise::engine
