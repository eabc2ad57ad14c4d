// Reads the expressions of a template, by recursive descent with Jinja's precedences. Pure
// functions, thread-safe.
#pragma once

#include "absl/status/statusor.h"
#include "engine/jinja/syntax.h"
#include "engine/jinja/token_stream.h"

namespace reprise::engine::jinja {

// kInvalidArgument, with the line: malformed, deeper than kMostDepth, or a construct that is not
// supported, with its name.
absl::StatusOr<ExpressionPtr> ParseExpression(TokenStream* tokens);
// One expression, or several with commas between them, which are a list. No conditional.
absl::StatusOr<ExpressionPtr> ParseLoopElements(TokenStream* tokens);
// The same with conditionals.
absl::StatusOr<ExpressionPtr> ParseExpressionOrList(TokenStream* tokens);

}  // namespace reprise::engine::jinja
