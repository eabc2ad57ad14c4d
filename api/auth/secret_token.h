// Bearer tokens. What is kept of a token is its SHA-256: whoever reads the credentials file learns
// no token. Pure functions but MakeToken, which draws; thread-safe.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/string_view.h"

namespace reprise::api {

// SHA-256 of a token. Comparing two takes the same time wherever they differ.
struct TokenDigest {
  static constexpr size_t kBytes = 32;
  std::array<uint8_t, kBytes> bytes;

  friend bool operator==(const TokenDigest& a, const TokenDigest& b);
  // By a key of this process's own: how long a look-up takes tells nothing of what is stored.
  template <typename H>
  friend H AbslHashValue(H hash, const TokenDigest& digest) {
    return H::combine(std::move(hash), digest.bytes);
  }
};

TokenDigest DigestOf(absl::string_view token);

// 64 lower-case digits, and back; nullopt when `hex` is anything else.
std::string ToHex(const TokenDigest& digest);
std::optional<TokenDigest> TokenDigestFromHex(absl::string_view hex);

// A new token of 256 random bits, fit for a header: "reprise_" and 43 letters, digits, - and _.
std::string MakeToken();

}  // namespace reprise::api
