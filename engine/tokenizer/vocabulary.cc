#include "engine/tokenizer/vocabulary.h"

#include <utility>

namespace reprise::engine {

void Vocabulary::Set(uint32_t id, TokenKind kind, std::string bytes) {
  if (id >= tokens_.size()) tokens_.resize(id + 1);
  const auto replaced = ids_.find(tokens_[id].bytes);
  if (replaced != ids_.end() && replaced->second == id) ids_.erase(replaced);
  ids_[bytes] = id;
  tokens_[id] = {kind, std::move(bytes)};
}

TokenKind Vocabulary::kind(uint32_t id) const {
  return id < tokens_.size() ? tokens_[id].kind : TokenKind::kUnused;
}

absl::string_view Vocabulary::bytes(uint32_t id) const {
  return id < tokens_.size() ? absl::string_view(tokens_[id].bytes) : absl::string_view();
}

std::optional<uint32_t> Vocabulary::Find(absl::string_view bytes) const {
  const auto found = ids_.find(bytes);
  if (found == ids_.end()) return std::nullopt;
  return found->second;
}

}  // namespace reprise::engine
