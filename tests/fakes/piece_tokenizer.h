// PieceTokenizer: a tokenizer whose tokens stand for given bytes. Decoding only. Immutable.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "engine/tokenizer/tokenizer.h"

namespace reprise::engine {

class PieceTokenizer : public Tokenizer {
 public:
  // Token i stands for pieces[i]; tokens without a piece for a letter.
  explicit PieceTokenizer(std::vector<std::string> pieces = {}) : pieces_(std::move(pieces)) {}

  absl::StatusOr<std::vector<uint32_t>> Encode(absl::string_view text) const override {
    return absl::UnimplementedError("PieceTokenizer only decodes");
  }
  absl::StatusOr<std::vector<uint32_t>> EncodeMarked(const MarkedText& text) const override {
    return absl::UnimplementedError("PieceTokenizer only decodes");
  }
  const std::vector<uint32_t>& leading_ids() const override { return no_ids_; }
  std::string TokenBytes(uint32_t id) const override {
    if (id < pieces_.size()) return pieces_[id];
    return std::string(1, static_cast<char>('a' + id % 26));
  }
  bool IsSpecial(uint32_t id) const override { return false; }
  std::string Decode(absl::Span<const uint32_t> ids) const override {
    std::string text;
    for (uint32_t id : ids) text += TokenBytes(id);
    return text;
  }
  absl::StatusOr<uint32_t> TokenToId(absl::string_view token) const override {
    return absl::NotFoundError("PieceTokenizer only decodes");
  }
  uint32_t vocab_size() const override { return 1 << 16; }
  const std::string& digest() const override { return digest_; }
  const ChatTemplate& chat_template() const override { return chat_template_; }

 private:
  const std::vector<std::string> pieces_;
  const std::vector<uint32_t> no_ids_;
  const std::string digest_ = "piece-tokenizer";
  const ChatTemplate chat_template_;
};

}  // namespace reprise::engine
