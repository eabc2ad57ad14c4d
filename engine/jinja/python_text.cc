#include "engine/jinja/python_text.h"

#include <algorithm>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "engine/text/utf8.h"

namespace reprise::engine::jinja {
namespace {

absl::string_view FirstCharacter(absl::string_view text) {
  return text.substr(0, NextUtf8(text).num_bytes);
}

absl::string_view LastCharacter(absl::string_view text) {
  size_t begin = text.size() - 1;
  while (begin > 0 && (text[begin] & 0xc0) == 0x80) --begin;
  return text.substr(begin);
}

// What str.isspace() says of one character.
bool IsSpace(absl::string_view character) {
  if (character.size() == 1) {
    const unsigned char c = static_cast<unsigned char>(character[0]);
    return (c >= 0x09 && c <= 0x0d) || (c >= 0x1c && c <= 0x20);
  }
  constexpr absl::string_view kSpaces[] = {"\u0085", "\u00a0", "\u1680", "\u2000", "\u2001",
                                           "\u2002", "\u2003", "\u2004", "\u2005", "\u2006",
                                           "\u2007", "\u2008", "\u2009", "\u200a", "\u2028",
                                           "\u2029", "\u202f", "\u205f", "\u3000"};
  return std::find(std::begin(kSpaces), std::end(kSpaces), character) != std::end(kSpaces);
}

bool IsStripped(absl::string_view character, const std::optional<absl::string_view>& set) {
  return set.has_value() ? set->find(character) != absl::string_view::npos : IsSpace(character);
}

bool IsLetter(char c) { return absl::ascii_isalpha(static_cast<unsigned char>(c)); }

}  // namespace

MarkedText Strip(const MarkedText& text, std::optional<absl::string_view> set, Ends ends) {
  absl::string_view rest = text.text();
  if (ends != Ends::kRight) {
    while (!rest.empty() && IsStripped(FirstCharacter(rest), set)) {
      rest.remove_prefix(FirstCharacter(rest).size());
    }
  }
  if (ends != Ends::kLeft) {
    while (!rest.empty() && IsStripped(LastCharacter(rest), set)) {
      rest.remove_suffix(LastCharacter(rest).size());
    }
  }
  const size_t begin = static_cast<size_t>(rest.data() - text.text().data());
  return text.Slice({begin, begin + rest.size()});
}

std::vector<MarkedText> Split(const MarkedText& text, absl::string_view separator,
                              size_t most_cuts) {
  const absl::string_view bytes = text.text();
  std::vector<MarkedText> parts;
  size_t begin = 0;
  while (parts.size() < most_cuts) {
    const size_t at = bytes.find(separator, begin);
    if (at == absl::string_view::npos) break;
    parts.push_back(text.Slice({begin, at}));
    begin = at + separator.size();
  }
  parts.push_back(text.Slice({begin, text.size()}));
  return parts;
}

std::vector<MarkedText> SplitFromRight(const MarkedText& text, absl::string_view separator,
                                       size_t most_cuts) {
  const absl::string_view bytes = text.text();
  std::vector<MarkedText> parts;
  size_t end = text.size();
  while (parts.size() < most_cuts && end >= separator.size()) {
    const size_t at = bytes.rfind(separator, end - separator.size());
    if (at == absl::string_view::npos) break;
    parts.push_back(text.Slice({at + separator.size(), end}));
    end = at;
  }
  parts.push_back(text.Slice({0, end}));
  std::reverse(parts.begin(), parts.end());
  return parts;
}

std::vector<MarkedText> SplitWords(const MarkedText& text) {
  std::vector<MarkedText> words;
  size_t begin = 0;
  for (const TextRange& character : CharactersOf(text.text())) {
    const absl::string_view bytes =
        absl::string_view(text.text()).substr(character.begin, character.end - character.begin);
    if (!IsSpace(bytes)) continue;
    if (begin < character.begin) words.push_back(text.Slice({begin, character.begin}));
    begin = character.end;
  }
  if (begin < text.size()) words.push_back(text.Slice({begin, text.size()}));
  return words;
}

MarkedText Replace(const MarkedText& text, absl::string_view from, const MarkedText& to) {
  if (from.empty()) {
    MarkedText spread = to;
    for (const TextRange& character : CharactersOf(text.text())) {
      spread.AppendSlice(text, character);
      spread.Append(to);
    }
    return spread;
  }
  MarkedText replaced;
  const std::vector<MarkedText> parts = Split(text, from, text.size());
  for (size_t i = 0; i < parts.size(); ++i) {
    if (i > 0) replaced.Append(to);
    replaced.Append(parts[i]);
  }
  return replaced;
}

absl::StatusOr<MarkedText> ChangeCase(const MarkedText& text, Case to) {
  std::string changed = text.text();
  if (!std::all_of(changed.begin(), changed.end(), absl::ascii_isascii)) {
    return absl::FailedPreconditionError(
        "upper and lower case of letters beyond ASCII is not supported");
  }
  bool follows_letter = false;
  for (size_t i = 0; i < changed.size(); ++i) {
    const bool to_upper = to == Case::kUpper || (to == Case::kTitle && !follows_letter) ||
                          (to == Case::kCapitalize && i == 0);
    follows_letter = IsLetter(changed[i]);
    const unsigned char c = static_cast<unsigned char>(changed[i]);
    changed[i] = to_upper ? absl::ascii_toupper(c) : absl::ascii_tolower(c);
  }
  MarkedText marked;
  size_t end = 0;
  for (const TextRange& plain : text.plain()) {
    marked.AppendOwn(absl::string_view(changed).substr(end, plain.begin - end));
    marked.AppendPlain(absl::string_view(changed).substr(plain.begin, plain.end - plain.begin));
    end = plain.end;
  }
  marked.AppendOwn(absl::string_view(changed).substr(end));
  return marked;
}

std::vector<TextRange> CharactersOf(absl::string_view text) {
  std::vector<TextRange> characters;
  for (size_t at = 0; at < text.size();) {
    const size_t num_bytes = NextUtf8(text.substr(at)).num_bytes;
    characters.push_back({at, at + num_bytes});
    at += num_bytes;
  }
  return characters;
}

std::vector<size_t> SliceIndices(size_t length, std::optional<int64_t> start,
                                 std::optional<int64_t> stop, int64_t step) {
  const int64_t count = static_cast<int64_t>(length);
  const int64_t lowest = step > 0 ? 0 : -1;
  const int64_t highest = step > 0 ? count : count - 1;
  const auto clamp = [&](std::optional<int64_t> index, int64_t fallback) {
    if (!index.has_value()) return fallback;
    return std::clamp(*index < 0 ? *index + count : *index, lowest, highest);
  };
  const int64_t last = clamp(stop, step > 0 ? count : -1);
  std::vector<size_t> indices;
  for (int64_t i = clamp(start, step > 0 ? 0 : count - 1); step > 0 ? i < last : i > last;) {
    indices.push_back(static_cast<size_t>(i));
    // A step as large as the text is enough, and cannot overflow.
    i += std::clamp(step, -count - 1, count + 1);
  }
  return indices;
}

}  // namespace reprise::engine::jinja
