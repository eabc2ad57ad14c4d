#include "engine/tokenizer/normalizer.h"

#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <iterator>
#include <vector>

#include "cachestore/base/check.h"

namespace reprise::engine {
namespace {

bool IsAscii(char c) { return static_cast<unsigned char>(c) < 0x80; }

// What utf8proc_map does with UTF8PROC_COMPOSE, except for the time that a long run of combining
// marks takes: it orders them by insertion, in the square of their number.
constexpr auto kCompose = static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE);

// The canonical decomposition of `text`, which is UTF-8, in no order of combining marks yet.
std::vector<utf8proc_int32_t> Decompose(absl::string_view text) {
  const auto* bytes = reinterpret_cast<const utf8proc_uint8_t*>(text.data());
  const auto size = static_cast<utf8proc_ssize_t>(text.size());
  std::vector<utf8proc_int32_t> points;
  points.reserve(text.size() + 1);
  for (utf8proc_ssize_t at = 0; at < size;) {
    utf8proc_int32_t point;
    const utf8proc_ssize_t length = utf8proc_iterate(bytes + at, size - at, &point);
    CHECK(length > 0);
    at += length;
    std::array<utf8proc_int32_t, 16> parts;  // the longest canonical decomposition has 4
    const utf8proc_ssize_t count =
        utf8proc_decompose_char(point, parts.data(), parts.size(), kCompose, nullptr);
    CHECK(count >= 0 && count <= std::ssize(parts));
    points.insert(points.end(), parts.begin(), parts.begin() + count);
  }
  return points;
}

std::string Nfc(absl::string_view text) {
  std::vector<utf8proc_int32_t> points = Decompose(text);
  const auto mark_class = [](utf8proc_int32_t point) {
    return utf8proc_get_property(point)->combining_class;
  };
  for (auto begin = points.begin(); begin != points.end();) {
    const auto end = std::find_if(begin, points.end(), [&](auto p) { return mark_class(p) == 0; });
    std::stable_sort(begin, end, [&](auto a, auto b) { return mark_class(a) < mark_class(b); });
    begin = end == points.end() ? end : end + 1;
  }
  const auto count = static_cast<utf8proc_ssize_t>(points.size());
  points.push_back(0);  // room for the zero behind the text
  const utf8proc_ssize_t num_bytes = utf8proc_reencode(points.data(), count, kCompose);
  CHECK(num_bytes >= 0);
  return std::string(reinterpret_cast<const char*>(points.data()), static_cast<size_t>(num_bytes));
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
