#include "api/auth/secret_token.h"

#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <openssl/sha.h>

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "cachestore/base/check.h"

namespace reprise::api {

static_assert(TokenDigest::kBytes == SHA256_DIGEST_LENGTH);

bool operator==(const TokenDigest& a, const TokenDigest& b) {
  return CRYPTO_memcmp(a.bytes.data(), b.bytes.data(), TokenDigest::kBytes) == 0;
}

TokenDigest DigestOf(absl::string_view token) {
  TokenDigest digest;
  SHA256(reinterpret_cast<const unsigned char*>(token.data()), token.size(), digest.bytes.data());
  return digest;
}

std::string ToHex(const TokenDigest& digest) {
  return absl::BytesToHexString(
      absl::string_view(reinterpret_cast<const char*>(digest.bytes.data()), TokenDigest::kBytes));
}

std::optional<TokenDigest> TokenDigestFromHex(absl::string_view hex) {
  const auto is_digit = [](char c) { return absl::ascii_isxdigit(c) && !absl::ascii_isupper(c); };
  if (hex.size() != 2 * TokenDigest::kBytes || !std::all_of(hex.begin(), hex.end(), is_digit)) {
    return std::nullopt;
  }
  const std::string bytes = absl::HexStringToBytes(hex);
  TokenDigest digest;
  std::copy(bytes.begin(), bytes.end(), digest.bytes.begin());
  return digest;
}

std::string MakeToken() {
  unsigned char bytes[32];
  CHECK(RAND_bytes(bytes, sizeof(bytes)) == 1);
  return absl::StrCat("reprise_", absl::WebSafeBase64Escape(absl::string_view(
                                      reinterpret_cast<const char*>(bytes), sizeof(bytes))));
}

}  // namespace reprise::api
