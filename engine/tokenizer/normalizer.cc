#include "engine/tokenizer/normalizer.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstdlib>
#include <memory>

#include "cachestore/base/check.h"

namespace reprise::engine {
namespace {

bool IsAscii(char c) { return static_cast<unsigned char>(c) < 0x80; }

std::string Nfc(absl::string_view text) {
  utf8proc_uint8_t* composed = nullptr;
  const utf8proc_ssize_t num_bytes =
      utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                   static_cast<utf8proc_ssize_t>(text.size()), &composed,
                   static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
  const std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> owner(composed, &std::free);
  CHECK(num_bytes >= 0);  // only text that is not UTF-8, or no memory, makes it fail
  return std::string(reinterpret_cast<const char*>(composed), static_cast<size_t>(num_bytes));
}

// `ranges` grown to where text can be cut without changing its NFC: no character of ASCII ever
// joins the one before it.
std::vector<TextRange> AtAscii(const std::string& text, const std::vector<TextRange>& ranges) {
  std::vector<TextRange> grown;
  for (TextRange range : ranges) {
    while (range.begin > 0 && !IsAscii(text[range.begin])) --range.begin;
    while (range.end < text.size() && !IsAscii(text[range.end])) ++range.end;
    if (!grown.empty() && grown.back().end >= range.begin) {
      grown.back().end = range.end;
    } else {
      grown.push_back(range);
    }
  }
  return grown;
}

MarkedText Apply(const NfcStage&, MarkedText text) {
  const std::string& bytes = text.text();
  if (std::all_of(bytes.begin(), bytes.end(), IsAscii)) return text;
  const absl::string_view whole = bytes;
  MarkedText composed;
  size_t end = 0;
  for (const TextRange& plain : AtAscii(bytes, text.plain())) {
    composed.AppendOwn(Nfc(whole.substr(end, plain.begin - end)));
    composed.AppendPlain(Nfc(whole.substr(plain.begin, plain.end - plain.begin)));
    end = plain.end;
  }
  composed.AppendOwn(Nfc(whole.substr(end)));
  return composed;
}

MarkedText Apply(const PrependStage& stage, MarkedText text) {
  if (text.empty()) return text;
  MarkedText longer(stage.prefix);
  longer.Append(text);
  return longer;
}

MarkedText Apply(const ReplaceStage& stage, MarkedText text) {
  MarkedText replaced;
  size_t end = 0;
  for (size_t at = text.text().find(stage.from); at != std::string::npos;
       at = text.text().find(stage.from, end)) {
    replaced.AppendSlice(text, {end, at});
    end = at + stage.from.size();
    if (text.TouchesPlain({at, end})) {
      replaced.AppendPlain(stage.to);
    } else {
      replaced.AppendOwn(stage.to);
    }
  }
  replaced.AppendSlice(text, {end, text.size()});
  return replaced;
}

}  // namespace

MarkedText Normalizer::Normalize(MarkedText text) const {
  for (const NormalizerStage& stage : stages_) {
    text = std::visit([&](const auto& s) { return Apply(s, std::move(text)); }, stage);
  }
  return text;
}

}  // namespace reprise::engine
