// Vocabulary: the tokens by id and what each stands for. Ids may have gaps. Thread-compatible;
// immutable once built.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"

namespace reprise::engine {

enum class TokenKind { kUnused, kText, kSpecial };

class Vocabulary {
 public:
  // Sets token `id`, in place of what it was. Where several tokens stand for the same bytes, Find
  // gives the one set last.
  void Set(uint32_t id, TokenKind kind, std::string bytes);

  // kUnused (empty) for ids that no token has.
  TokenKind kind(uint32_t id) const;
  absl::string_view bytes(uint32_t id) const;
  std::optional<uint32_t> Find(absl::string_view bytes) const;
  // One more than the highest id.
  uint32_t size() const { return static_cast<uint32_t>(tokens_.size()); }

 private:
  struct Token {
    TokenKind kind = TokenKind::kUnused;
    std::string bytes;
  };
  std::vector<Token> tokens_;  // by id
  absl::flat_hash_map<std::string, uint32_t> ids_;
};

}  // namespace reprise::engine
