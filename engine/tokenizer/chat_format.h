// ChatFormat: how a conversation is written for the model.
//
//   chatml      <|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n
//   transcript  User: Hello\n\nAssistant:            for models that know no turns
//   refused     for models whose chat template is another one: an answer to turns that the model
//               was not trained on would look like one and be worse
//
// Of a chatml template the turns are rendered, not what it adds of its own to a conversation
// without a system message, with tools or with thinking.
//
// Invariants:
//  (1) The tokens of a conversation are those of its messages, one message after the other: what
//      was rendered for turns 1 to n is the start of turns 1 to n+1, token for token, so that its
//      KV blocks are found again.
//  (2) With chatml no content can begin or end a turn: special tokens written in it are plain text.
//      A transcript has no such protection, its turns are text like any other.
// Immutable, thread-safe.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "engine/tokenizer/tokenizer.h"

namespace reprise::engine {

struct ChatMessage {
  std::string role;  // "system", "user" or "assistant"
  std::string content;
};

class ChatFormat {
 public:
  // chatml when the vocabulary has <|im_start|> and <|im_end|> as special tokens and the chat
  // template, if there is one, writes them; else transcript without a template, refused with one.
  // `tokenizer` must outlive the format.
  static ChatFormat Choose(const Tokenizer* tokenizer);

  // "chatml", "transcript" or "refused".
  absl::string_view Name() const;

  // `messages`, oldest first, and the cue for the assistant to answer, as token ids behind the
  // tokenizer's leading ids. A transcript leaves out white space at the end of a content.
  // kInvalidArgument: no messages, another role (which is named), content that is not UTF-8;
  // kFailedPrecondition: refused.
  absl::StatusOr<std::vector<uint32_t>> RenderTokens(absl::Span<const ChatMessage> messages) const;
  // The same as text, to be read: its special tokens cannot be told from those in a content.
  absl::StatusOr<std::string> RenderText(absl::Span<const ChatMessage> messages) const;

  // What ends an answer besides the model's own end-of-sequence tokens.
  const std::vector<uint32_t>& stop_token_ids() const { return stop_token_ids_; }
  const std::vector<std::string>& stop_strings() const { return stop_strings_; }

 private:
  enum class Style { kChatMl, kTranscript, kRefused };
  // A part of a rendered conversation, encoded on its own.
  struct Part {
    enum class Kind { kStructure, kText };  // a special token given by its text, or plain text
    Kind kind;
    std::string text;
  };

  ChatFormat(const Tokenizer* tokenizer, Style style) : tokenizer_(tokenizer), style_(style) {}
  absl::StatusOr<std::vector<Part>> PartsOf(absl::Span<const ChatMessage> messages) const;
  void AppendMessage(const ChatMessage& message, std::vector<Part>* parts) const;
  void AppendCue(std::vector<Part>* parts) const;

  const Tokenizer* tokenizer_;
  Style style_;
  std::vector<uint32_t> stop_token_ids_;
  std::vector<std::string> stop_strings_;
};

}  // namespace reprise::engine
