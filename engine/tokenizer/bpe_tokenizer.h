// BpeTokenizer: the Tokenizer of BPE models. Text goes through five steps: added tokens written in
// it are cut out, the rest is normalized, cut at the added tokens of normalized text, cut into
// pieces, and each piece merged into tokens. Immutable, thread-safe.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "engine/tokenizer/added_tokens.h"
#include "engine/tokenizer/bpe_model.h"
#include "engine/tokenizer/normalizer.h"
#include "engine/tokenizer/post_processor_json.h"
#include "engine/tokenizer/pre_tokenizer.h"
#include "engine/tokenizer/text_decoder.h"
#include "engine/tokenizer/tokenizer.h"
#include "engine/tokenizer/vocabulary.h"

namespace reprise::engine {

struct TokenizerParts {
  Vocabulary vocabulary;
  AddedTokens added;
  Normalizer normalizer;
  PreTokenizer pre_tokenizer;
  BpeParts bpe;
  TextDecoder decoder;
  SurroundingIds surrounding;
  std::string digest;
  ChatTemplate chat_template;
};

class BpeTokenizer : public Tokenizer {
 public:
  explicit BpeTokenizer(TokenizerParts parts);

  absl::StatusOr<std::vector<uint32_t>> Encode(absl::string_view text) const override;
  absl::StatusOr<std::vector<uint32_t>> EncodeMarked(const MarkedText& text) const override;
  const std::vector<uint32_t>& leading_ids() const override { return surrounding_.leading; }
  std::string TokenBytes(uint32_t id) const override;
  bool IsSpecial(uint32_t id) const override;
  std::string Decode(absl::Span<const uint32_t> ids) const override;
  absl::StatusOr<uint32_t> TokenToId(absl::string_view token) const override;
  uint32_t vocab_size() const override { return vocabulary_.size(); }
  const std::string& digest() const override { return digest_; }
  const ChatTemplate& chat_template() const override { return chat_template_; }

 private:
  absl::Status AppendIds(const MarkedText& text, std::vector<uint32_t>* ids) const;
  absl::Status AppendPieces(const MarkedText& text, TextPlace place, BpeScratch* scratch,
                            std::vector<uint32_t>* ids) const;
  // Writes the special tokens among the ids from `begin` on as the characters they are made of.
  void SpellOutSpecials(size_t begin, std::vector<uint32_t>* ids) const;

  Vocabulary vocabulary_;
  AddedTokens added_;
  Normalizer normalizer_;
  PreTokenizer pre_tokenizer_;
  BpeModel model_;
  TextDecoder decoder_;
  SurroundingIds surrounding_;
  std::string digest_;
  ChatTemplate chat_template_;
};

}  // namespace reprise::engine
