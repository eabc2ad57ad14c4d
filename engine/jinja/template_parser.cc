#include "engine/jinja/template_parser.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "cachestore/base/status_macros.h"
#include "engine/jinja/expression_parser.h"
#include "engine/jinja/lexer.h"
#include "engine/jinja/token_stream.h"

namespace reprise::engine::jinja {
namespace {

// Statements in each other; a template has about six.
constexpr int kMostBlocks = 32;

class Parser {
 public:
  explicit Parser(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

  absl::StatusOr<Block> Run() {
    ASSIGN_OR_RETURN(Block block, BlockUntil({}));
    return block;
  }

 private:
  using Names = std::vector<const char*>;

  // Statements up to a tag that begins with one of `ends`, whose name is taken, or, when there are
  // none, to the end of the template.
  absl::StatusOr<Block> BlockUntil(const Names& ends) {
    Block block;
    if (++nesting_ > kMostBlocks) {
      return tokens_.Error(absl::StrCat("more than ", kMostBlocks, " blocks in each other"));
    }
    while (true) {
      const int line = tokens_.Peek().line;
      const Token token = tokens_.Next();
      if (token.type == TokenType::kText) {
        block.push_back({line, Text{token.text}});
      } else if (token.type == TokenType::kOutput) {
        ASSIGN_OR_RETURN(ExpressionPtr value, ParseExpressionOrList(&tokens_));
        RETURN_IF_ERROR(tokens_.Expect(TokenType::kOutputEnd, "}}"));
        block.push_back({line, Output{std::move(value)}});
      } else if (token.type == TokenType::kTag) {
        ASSIGN_OR_RETURN(end_, tokens_.ExpectName("the name of a tag"));
        if (IsOneOf(end_, ends)) break;
        RETURN_IF_ERROR(AppendStatement(line, end_, &block));
      } else {
        if (ends.empty()) break;
        return tokens_.Error(absl::StrCat("a block is not closed by ", ends.back()));
      }
    }
    --nesting_;
    return block;
  }

  static bool IsOneOf(const std::string& name, const Names& names) {
    for (const char* known : names) {
      if (name == known) return true;
    }
    return false;
  }

  absl::Status TagEnd() { return tokens_.Expect(TokenType::kTagEnd, "%}"); }

  absl::Status AppendStatement(int line, const std::string& tag, Block* block) {
    if (tag == "if") {
      ASSIGN_OR_RETURN(If statement, ParseIf());
      block->push_back({line, std::move(statement)});
    } else if (tag == "for") {
      ASSIGN_OR_RETURN(For statement, ParseFor());
      block->push_back({line, std::move(statement)});
    } else if (tag == "set") {
      return AppendSet(line, block);
    } else if (tag == "macro") {
      ASSIGN_OR_RETURN(Macro statement, ParseMacro());
      block->push_back({line, std::move(statement)});
    } else if (tag == "break" || tag == "continue") {
      if (loops_ == 0) return tokens_.Error(absl::StrCat(tag, " outside of a loop"));
      RETURN_IF_ERROR(TagEnd());
      block->push_back({line, tag == "break" ? LoopControl::kBreak : LoopControl::kContinue});
    } else if (tag == "generation") {
      // Marks the model's own words for training; they are written like any others.
      RETURN_IF_ERROR(TagEnd());
      ASSIGN_OR_RETURN(Block body, BlockUntil({"endgeneration"}));
      for (Statement& statement : body) block->push_back(std::move(statement));
      return TagEnd();
    } else {
      return tokens_.Error(absl::StrCat("tag '", tag, "' is not supported"));
    }
    return absl::OkStatus();
  }

  absl::StatusOr<If> ParseIf() {
    If statement;
    std::string tag = "if";
    while (tag != "endif") {
      ExpressionPtr test;
      if (tag != "else") {
        ASSIGN_OR_RETURN(test, ParseExpression(&tokens_));
      }
      RETURN_IF_ERROR(TagEnd());
      ASSIGN_OR_RETURN(Block body,
                       BlockUntil(tag == "else" ? Names{"endif"} : Names{"elif", "else", "endif"}));
      if (test == nullptr) {
        statement.otherwise = std::move(body);
      } else {
        statement.branches.push_back({std::move(test), std::move(body)});
      }
      tag = end_;
    }
    RETURN_IF_ERROR(TagEnd());
    return statement;
  }

  absl::StatusOr<std::vector<std::string>> ParseTargets() {
    std::vector<std::string> targets;
    const bool in_parentheses = tokens_.TakeOperator("(");
    do {
      ASSIGN_OR_RETURN(std::string name, tokens_.ExpectName("the name of a variable"));
      targets.push_back(std::move(name));
    } while (tokens_.TakeOperator(","));
    if (in_parentheses) RETURN_IF_ERROR(tokens_.ExpectOperator(")"));
    return targets;
  }

  absl::StatusOr<For> ParseFor() {
    For statement;
    ASSIGN_OR_RETURN(statement.targets, ParseTargets());
    if (!tokens_.TakeName("in")) return tokens_.Error("expected 'in' behind for");
    ASSIGN_OR_RETURN(statement.elements, ParseLoopElements(&tokens_));
    if (tokens_.TakeName("if")) {
      ASSIGN_OR_RETURN(statement.condition, ParseExpression(&tokens_));
    }
    if (tokens_.Peek().IsName("recursive"))
      return tokens_.Error("for ... recursive is not supported");
    RETURN_IF_ERROR(TagEnd());
    ++loops_;
    ASSIGN_OR_RETURN(statement.body, BlockUntil({"else", "endfor"}));
    --loops_;
    if (end_ == "else") {
      RETURN_IF_ERROR(TagEnd());
      ASSIGN_OR_RETURN(statement.otherwise, BlockUntil({"endfor"}));
    }
    RETURN_IF_ERROR(TagEnd());
    return statement;
  }

  absl::Status AppendSet(int line, Block* block) {
    ASSIGN_OR_RETURN(std::vector<std::string> targets, ParseTargets());
    std::string attribute;
    if (tokens_.TakeOperator(".")) {
      ASSIGN_OR_RETURN(attribute, tokens_.ExpectName("the name of an attribute"));
    }
    if (tokens_.TakeOperator("=")) {
      ASSIGN_OR_RETURN(ExpressionPtr value, ParseExpressionOrList(&tokens_));
      if (attribute.empty()) {
        block->push_back({line, SetNames{std::move(targets), std::move(value)}});
      } else {
        block->push_back({line, SetAttribute{targets[0], std::move(attribute), std::move(value)}});
      }
      return TagEnd();
    }
    if (targets.size() != 1 || !attribute.empty() || tokens_.Peek().IsOperator("|")) {
      return tokens_.Error("this form of set is not supported");
    }
    RETURN_IF_ERROR(TagEnd());
    ASSIGN_OR_RETURN(Block body, BlockUntil({"endset"}));
    block->push_back({line, SetBlock{targets[0], std::move(body)}});
    return TagEnd();
  }

  absl::StatusOr<Macro> ParseMacro() {
    // One that is defined inside of another block would see that block's variables.
    if (nesting_ > 1) return tokens_.Error("a macro inside of a block is not supported");
    auto macro = std::make_unique<MacroDefinition>();
    ASSIGN_OR_RETURN(macro->name, tokens_.ExpectName("the name of a macro"));
    RETURN_IF_ERROR(tokens_.ExpectOperator("("));
    while (!tokens_.TakeOperator(")")) {
      MacroDefinition::Parameter parameter;
      ASSIGN_OR_RETURN(parameter.name, tokens_.ExpectName("the name of a parameter"));
      if (tokens_.TakeOperator("=")) {
        ASSIGN_OR_RETURN(parameter.fallback, ParseExpression(&tokens_));
      }
      macro->parameters.push_back(std::move(parameter));
      if (!tokens_.Peek().IsOperator(")")) RETURN_IF_ERROR(tokens_.ExpectOperator(","));
    }
    RETURN_IF_ERROR(TagEnd());
    ASSIGN_OR_RETURN(macro->body, BlockUntil({"endmacro"}));
    RETURN_IF_ERROR(TagEnd());
    return Macro{std::move(macro)};
  }

  TokenStream tokens_;
  std::string end_;  // the tag that ended the last block
  int nesting_ = 0;
  int loops_ = 0;
};

}  // namespace

absl::StatusOr<Block> ParseTemplate(absl::string_view source) {
  ASSIGN_OR_RETURN(std::vector<Token> tokens, Tokenize(source));
  return Parser(std::move(tokens)).Run();
}

}  // namespace reprise::engine::jinja
