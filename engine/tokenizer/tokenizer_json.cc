#include "engine/tokenizer/tokenizer_json.h"

#include <cstddef>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "cachestore/base/hash.h"
#include "cachestore/base/status_macros.h"
#include "engine/json/json_text.h"
#include "engine/tokenizer/bpe_tokenizer.h"
#include "engine/tokenizer/chat_template.h"
#include "engine/tokenizer/json_field.h"
#include "engine/tokenizer/normalizer_json.h"
#include "engine/tokenizer/post_processor_json.h"
#include "engine/tokenizer/pre_tokenizer_json.h"
#include "engine/tokenizer/text_decoder_json.h"
#include "engine/tokenizer/vocabulary_json.h"

namespace reprise::engine {
namespace {

// The largest vocabularies, of 260,000 tokens, make files of about 35 MB.
constexpr int64_t kMostTokenizerBytes = 256 << 20;

std::string DigestOf(const std::string& text) {
  const cachestore::Hash128 hash = cachestore::HashBytes128(
      absl::MakeConstSpan(reinterpret_cast<const std::byte*>(text.data()), text.size()));
  return absl::StrCat(absl::Hex(hash.hi, absl::kZeroPad16), absl::Hex(hash.lo, absl::kZeroPad16));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Tokenizer>> ParseTokenizerJson(const std::string& text,
                                                              const std::string& file,
                                                              ChatTemplate chat_template) {
  ASSIGN_OR_RETURN(const nlohmann::json document, ParseJson(text, file));
  const JsonField root(&document, file);
  ASSIGN_OR_RETURN(PreTokenizerParts pre_tokenizer, ReadPreTokenizer(root));
  ASSIGN_OR_RETURN(const TextDecoder decoder, ReadTextDecoder(root, pre_tokenizer.alphabet));
  ASSIGN_OR_RETURN(VocabularyParts vocabulary,
                   ReadVocabulary(root, pre_tokenizer.alphabet, decoder));
  ASSIGN_OR_RETURN(const Normalizer normalizer, ReadNormalizer(root));
  ASSIGN_OR_RETURN(SurroundingIds surrounding, ReadPostProcessor(root, vocabulary.vocabulary));
  return std::make_unique<BpeTokenizer>(
      TokenizerParts{.vocabulary = std::move(vocabulary.vocabulary),
                     .added = AddedTokens(std::move(vocabulary.added), normalizer),
                     .normalizer = normalizer,
                     .pre_tokenizer = std::move(pre_tokenizer.pre_tokenizer),
                     .bpe = std::move(vocabulary.bpe),
                     .decoder = decoder,
                     .surrounding = std::move(surrounding),
                     .digest = DigestOf(text),
                     .chat_template = std::move(chat_template)});
}

absl::StatusOr<std::unique_ptr<Tokenizer>> LoadTokenizer(const std::string& folder) {
  const std::string file = absl::StrCat(folder, "/tokenizer.json");
  ASSIGN_OR_RETURN(const std::string text, ReadTextFile(file, kMostTokenizerBytes));
  ASSIGN_OR_RETURN(ChatTemplate chat_template, ReadChatTemplate(folder));
  return ParseTokenizerJson(text, file, std::move(chat_template));
}

}  // namespace reprise::engine
