// Normalizer: the "normalizer" of tokenizer.json: none, or Unicode NFC. Immutable, thread-safe.
#pragma once

#include <string>

#include "absl/strings/string_view.h"

namespace reprise::engine {

class Normalizer {
 public:
  enum class Form { kNone, kNfc };

  explicit Normalizer(Form form) : form_(form) {}

  // `text` in this form. REQUIRES: `text` is UTF-8.
  std::string Normalize(absl::string_view text) const;

 private:
  Form form_;
};

}  // namespace reprise::engine
