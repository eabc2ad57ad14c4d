#include "engine/jinja/token_stream.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace reprise::engine::jinja {
namespace {

std::string Describe(const Token& token) {
  if (token.type == TokenType::kEnd) return "the end of the template";
  return absl::StrCat("'", token.text.substr(0, 40), "'");
}

}  // namespace

const Token& TokenStream::PeekSecond() const {
  return tokens_[std::min(at_ + 1, tokens_.size() - 1)];
}

Token TokenStream::Next() {
  const Token token = tokens_[at_];
  at_ = std::min(at_ + 1, tokens_.size() - 1);
  return token;
}

bool TokenStream::TakeOperator(const char* op) {
  if (!Peek().IsOperator(op)) return false;
  Next();
  return true;
}

bool TokenStream::TakeName(const char* name) {
  if (!Peek().IsName(name)) return false;
  Next();
  return true;
}

absl::Status TokenStream::ExpectOperator(const char* op) {
  if (TakeOperator(op)) return absl::OkStatus();
  return Error(absl::StrCat("expected '", op, "', found ", Describe(Peek())));
}

absl::StatusOr<std::string> TokenStream::ExpectName(absl::string_view what) {
  if (Peek().type == TokenType::kName) return Next().text;
  return Error(absl::StrCat("expected ", what, ", found ", Describe(Peek())));
}

absl::Status TokenStream::Expect(TokenType type, absl::string_view what) {
  if (Peek().type != type) {
    return Error(absl::StrCat("expected ", what, ", found ", Describe(Peek())));
  }
  Next();
  return absl::OkStatus();
}

absl::Status TokenStream::Error(absl::string_view cause) const {
  return absl::InvalidArgumentError(absl::StrCat("line ", Peek().line, ": ", cause));
}

}  // namespace reprise::engine::jinja
