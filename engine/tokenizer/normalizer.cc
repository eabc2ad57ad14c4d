#include "engine/tokenizer/normalizer.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstdlib>
#include <memory>

#include "cachestore/base/check.h"

namespace reprise::engine {

std::string Normalizer::Normalize(absl::string_view text) const {
  const bool is_ascii = std::all_of(text.begin(), text.end(),
                                    [](char c) { return static_cast<unsigned char>(c) < 0x80; });
  if (form_ == Form::kNone || is_ascii) return std::string(text);
  utf8proc_uint8_t* composed = nullptr;
  const utf8proc_ssize_t num_bytes =
      utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                   static_cast<utf8proc_ssize_t>(text.size()), &composed,
                   static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
  const std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> owner(composed, &std::free);
  CHECK(num_bytes >= 0);  // only text that is not UTF-8, or no memory, makes it fail
  return std::string(reinterpret_cast<const char*>(composed), static_cast<size_t>(num_bytes));
}

}  // namespace reprise::engine
