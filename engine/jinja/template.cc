#include "engine/jinja/template.h"

#include <utility>

#include "cachestore/base/status_macros.h"
#include "engine/jinja/budget.h"
#include "engine/jinja/interpreter.h"
#include "engine/jinja/template_parser.h"

namespace reprise::engine::jinja {

absl::StatusOr<Template> Template::Parse(absl::string_view source) {
  ASSIGN_OR_RETURN(Block block, ParseTemplate(source));
  return Template(std::move(block));
}

absl::StatusOr<MarkedText> Template::Render(Map variables, size_t most_work) const {
  Budget budget(most_work);
  return Interpreter(std::move(variables), &budget).Run(*block_);
}

}  // namespace reprise::engine::jinja
