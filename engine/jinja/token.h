// Token: what the lexer cuts a template into.
#pragma once

#include <cstdint>
#include <string>

namespace reprise::engine::jinja {

enum class TokenType {
  kText,       // between tags; `text` is what is left after white space control
  kOutput,     // {{
  kOutputEnd,  // }}
  kTag,        // {%
  kTagEnd,     // %}
  kName,       // `text`
  kString,     // `text`, escapes resolved
  kInteger,    // `number`
  kOperator,   // `text`: one of + - * / // % ~ == != < <= > >= = . , : | ( ) [ ] { } **
  kEnd,        // of the template
};

struct Token {
  TokenType type = TokenType::kEnd;
  int line = 1;
  std::string text;
  int64_t number = 0;

  bool Is(TokenType t, const char* s) const { return type == t && text == s; }
  bool IsOperator(const char* s) const { return Is(TokenType::kOperator, s); }
  bool IsName(const char* s) const { return Is(TokenType::kName, s); }
};

}  // namespace reprise::engine::jinja
