// ChatFormat: how a conversation is written for the model, always by a template:
//
//   template    the one of the model's folder, as transformers' apply_chat_template renders it,
//               token for token, with add_generation_prompt
//   chatml      <|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n
//               for folders that have no template, but these two special tokens
//   transcript  User: Hello\n\nAssistant:            for models that know no turns
//   refused     when the folder's template cannot be rendered: an answer to turns that the model
//               was not trained on would look like one and be worse
//
// Invariants:
//  (1) Turn n's tokens are the start of turn n+1's as far as the template writes the same text for
//      them and no token spans the end; so far KV blocks are found again. A template that rewrites
//      earlier turns (Qwen3 drops what was thought in them) is followed all the same.
//  (2) No content can begin or end a turn: special tokens written in it are plain text. Names of
//      turns that are no special tokens have no such protection (transcript, Llama 2's [INST]).
// Immutable, thread-safe.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "engine/jinja/template.h"
#include "engine/jinja/value.h"
#include "engine/tokenizer/tokenizer.h"

namespace reprise::engine {

struct ChatMessage {
  std::string role;  // "system", "user" or "assistant"; of a template also "tool"
  std::string content;
  jinja::Map members;  // more that the template sees (template_variables.h); others see none
};

class ChatFormat {
 public:
  // `tokenizer` must outlive the format.
  static ChatFormat Choose(const Tokenizer* tokenizer);

  // "template", "chatml", "transcript" or "refused".
  absl::string_view Name() const;

  // `messages`, oldest first, and the cue for the assistant to answer, as token ids. The template
  // sees `variables` (template_variables.h) too; the other formats know none. BOS is there if the
  // folder's template writes it, and for the other formats if it is the tokenizer's leading id.
  // kInvalidArgument: no messages, another role (which is named), content that is not UTF-8, or
  // the template refuses the conversation, in its words; kFailedPrecondition: the template cannot
  // be rendered, with line and cause; kResourceExhausted: nor in bounded time.
  absl::StatusOr<std::vector<uint32_t>> RenderTokens(absl::Span<const ChatMessage> messages,
                                                     const jinja::Map& variables = {}) const;
  // The same as text, without leading ids.
  absl::StatusOr<std::string> RenderText(absl::Span<const ChatMessage> messages,
                                         const jinja::Map& variables = {}) const;

  // What ends an answer besides the model's own end-of-sequence tokens: the special token that the
  // template writes behind an answer, and the folder's eos_token.
  const std::vector<uint32_t>& stop_token_ids() const { return stop_token_ids_; }
  const std::vector<std::string>& stop_strings() const { return stop_strings_; }

 private:
  enum class Style { kTemplate, kChatMl, kTranscript, kRefused };
  enum class Cue { kAnswer, kNone };

  ChatFormat(const Tokenizer* tokenizer, Style style, absl::string_view source);
  absl::StatusOr<MarkedText> Render(absl::Span<const ChatMessage> messages,
                                    const jinja::Map& variables, Cue cue) const;
  void FindStopTokens();
  void AddStopToken(uint32_t id);

  const Tokenizer* tokenizer_;
  Style style_;
  std::optional<jinja::Template> template_;  // unless refused
  absl::Status refusal_;
  std::vector<uint32_t> stop_token_ids_;
  std::vector<std::string> stop_strings_;
};

}  // namespace reprise::engine
