#include "cachestore/block/block_content.h"

#include <cstring>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace reprise::cachestore {

absl::StatusOr<ExternalKey> ExternalKey::FromBytes(absl::string_view bytes) {
  if (bytes.size() != kBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("an external key has ", kBytes, " bytes, not ", bytes.size()));
  }
  ExternalKey key;
  std::memcpy(key.words.data(), bytes.data(), kBytes);
  return key;
}

absl::StatusOr<ExternalKey> ExternalKey::FromHex(absl::string_view hex) {
  if (hex.size() != 2 * kBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("an external key has ", 2 * kBytes, " hex digits, not ", hex.size()));
  }
  for (const char c : hex) {
    if (absl::ascii_isxdigit(static_cast<unsigned char>(c))) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("\"", hex, "\" is not an external key in hex digits"));
  }
  return FromBytes(absl::HexStringToBytes(hex));
}

std::string ExternalKey::ToBytes() const {
  return std::string(reinterpret_cast<const char*>(words.data()), kBytes);
}

std::string ExternalKey::ToHex() const { return absl::BytesToHexString(ToBytes()); }

absl::Span<const uint32_t> BlockContent::WordsOf(absl::Span<const ExternalKey> keys) {
  // The keys lie one behind the other, so their words do.
  return {reinterpret_cast<const uint32_t*>(keys.data()), keys.size() * ExternalKey::kWords};
}

}  // namespace reprise::cachestore
