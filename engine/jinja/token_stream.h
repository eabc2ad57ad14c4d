// TokenStream: the tokens of a template, read from first to last. Thread-compatible.
#pragma once

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "engine/jinja/token.h"

namespace reprise::engine::jinja {

class TokenStream {
 public:
  // REQUIRES: the last of `tokens` is kEnd.
  explicit TokenStream(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

  const Token& Peek() const { return tokens_[at_]; }
  // The one behind it; kEnd at the end.
  const Token& PeekSecond() const;
  Token Next();

  // Takes the next token if it is this operator (name).
  bool TakeOperator(const char* op);
  bool TakeName(const char* name);
  // Takes it, or complains.
  absl::Status ExpectOperator(const char* op);
  absl::StatusOr<std::string> ExpectName(absl::string_view what);
  absl::Status Expect(TokenType type, absl::string_view what);

  // "line N: cause", kInvalidArgument.
  absl::Status Error(absl::string_view cause) const;

 private:
  std::vector<Token> tokens_;
  size_t at_ = 0;
};

}  // namespace reprise::engine::jinja
