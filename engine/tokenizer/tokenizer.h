// Tokenizer: text to token ids and back, as tokenizer.json of a Hugging Face folder says.
// Byte-level BPE (GPT-2, Llama 3, Qwen2) and SentencePiece's BPE with or without byte fallback
// (Llama 2, Mistral, Gemma). Immutable after loading, thread-safe.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "engine/text/marked_text.h"

namespace reprise::engine {

// How the model's author writes a conversation.
struct ChatTemplate {
  std::string jinja;  // empty when nothing is said of it
  // What the template may name: "bos_token", "eos_token" and the like, each with its text.
  std::vector<std::pair<std::string, std::string>> special_tokens;
};

class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  // Token ids of UTF-8 `text`. Added and special tokens written in the text are recognised. No
  // BOS or EOS is added unless tokenizer.json's post-processor says so.
  // kInvalidArgument: `text` is not UTF-8.
  virtual absl::StatusOr<std::vector<uint32_t>> Encode(absl::string_view text) const = 0;

  // Token ids of UTF-8 `text`, to which nothing is added. A special token written in it, of which a
  // byte is plain, is encoded as the characters it is made of, never as its id.
  // kInvalidArgument: `text` is not UTF-8.
  virtual absl::StatusOr<std::vector<uint32_t>> EncodeMarked(const MarkedText& text) const = 0;

  // What the post-processor puts before every text (BOS, as a rule); empty for most tokenizers.
  virtual const std::vector<uint32_t>& leading_ids() const = 0;

  // The raw bytes that token `id` stands for: part of a UTF-8 character at times. Special tokens
  // give their text. Empty for an id outside of the vocabulary.
  virtual std::string TokenBytes(uint32_t id) const = 0;
  virtual bool IsSpecial(uint32_t id) const = 0;
  // Text of `ids`, special tokens left out; bytes that are not UTF-8 become U+FFFD. What encoding
  // put before the text (SentencePiece's space) is left out as well.
  virtual std::string Decode(absl::Span<const uint32_t> ids) const = 0;

  // Id of the token that stands for exactly the bytes `token` (e.g. "<|im_end|>"): the inverse of
  // TokenBytes. kNotFound.
  virtual absl::StatusOr<uint32_t> TokenToId(absl::string_view token) const = 0;
  // Ids are below this.
  virtual uint32_t vocab_size() const = 0;
  // Digest of tokenizer.json's bytes (hex).
  virtual const std::string& digest() const = 0;
  virtual const ChatTemplate& chat_template() const = 0;
};

// Loads `folder`/tokenizer.json and the folder's chat template. kNotFound: no tokenizer.json;
// kInvalidArgument: malformed, with the place and cause, or a kind of tokenizer that is not
// supported, with its name.
absl::StatusOr<std::unique_ptr<Tokenizer>> LoadTokenizer(const std::string& folder);

// Turns a stream of tokens into UTF-8 text that never ends inside a character. The text goes on
// from what stands before it: a space that begins it is kept. One per sequence; thread-compatible.
class StreamDecoder {
 public:
  explicit StreamDecoder(const Tokenizer* tokenizer) : tokenizer_(tokenizer) {}
  // Text that became complete with `id`; special tokens give none.
  std::string Push(uint32_t id);
  // What is left, incomplete characters as U+FFFD.
  std::string Finish();

 private:
  const Tokenizer* tokenizer_;
  std::string pending_;  // bytes of a character not yet complete; at most 3
};

}  // namespace reprise::engine
