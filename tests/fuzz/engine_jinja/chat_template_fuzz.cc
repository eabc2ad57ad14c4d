// Chat templates: whatever parses renders within its work or says why not, and no byte that the
// template or its caller wrote becomes plain, nor a plain one of the contents the caller's.
#include <cstdint>
#include <string>

#include "absl/strings/match.h"
#include "cachestore/base/check.h"
#include "engine/jinja/template.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace reprise::engine;         // NOLINT
  using namespace reprise::engine::jinja;  // NOLINT
  const absl::string_view source(reinterpret_cast<const char*>(data), size);
  const absl::StatusOr<Template> parsed = Template::Parse(source);
  if (!parsed.ok()) return 0;
  // The only character of the contents: nothing but the template itself could write it.
  constexpr char kPlain = '`';
  for (const char* own : {"`", "\\x", "\\u", "\\U"}) {
    if (absl::StrContains(source, own)) return 0;
  }
  List messages;
  for (const char* role : {"system", "user", "assistant", "user"}) {
    const MarkedText content = MarkedText::Plain(std::string(5, kPlain));
    messages.push_back(Value(Map{{"role", Value::Own(role)}, {"content", Value(content)}}));
  }
  const absl::StatusOr<MarkedText> text = parsed->Render(
      {{"messages", Value(messages)}, {"add_generation_prompt", Value(true)}}, size_t{1} << 22);
  if (!text.ok()) return 0;
  for (size_t i = 0; i < text->size(); ++i) {
    CHECK(text->TouchesPlain({i, i + 1}) == (text->text()[i] == kPlain));
  }
  return 0;
}
