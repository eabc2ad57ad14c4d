// Template: a Jinja template, parsed: as much of the language as chat templates use, as the
// transformers library sets it up (trim_blocks, lstrip_blocks, no escaping, break and continue).
// What is not supported is refused by name, never rendered in another way. Not supported are, among
// others: fractions, include, import, extends, call and filter blocks, macros in blocks, a < b < c,
// strftime_now, printing lists. Immutable, thread-safe.
#pragma once

#include <cstddef>
#include <memory>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "engine/jinja/syntax.h"
#include "engine/jinja/value.h"

namespace reprise::engine::jinja {

// What a rendering may cost, see Budget: about a second. A conversation that fills a context of a
// million tokens takes about a quarter.
inline constexpr size_t kMostWork = size_t{1} << 28;

class Template {
 public:
  // kInvalidArgument, "line N: cause": malformed, nested too deep, or not supported.
  static absl::StatusOr<Template> Parse(absl::string_view source);

  // What the template writes with these variables; bytes that come from plain ones are plain.
  // kInvalidArgument: the template itself refuses what it was given, in its words;
  // kFailedPrecondition, "line N: cause": values that do not go together, or what is not supported;
  // kResourceExhausted: more than `most_work`.
  absl::StatusOr<MarkedText> Render(Map variables, size_t most_work = kMostWork) const;

 private:
  explicit Template(Block block) : block_(std::make_shared<const Block>(std::move(block))) {}

  std::shared_ptr<const Block> block_;
};

}  // namespace reprise::engine::jinja
