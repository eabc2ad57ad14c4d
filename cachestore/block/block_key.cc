#include "cachestore/block/block_key.h"

#include <bit>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "cachestore/base/check.h"

namespace reprise::cachestore {
namespace {

// Keys are defined over little-endian integers, which are memory as it lies on these machines.
static_assert(std::endian::native == std::endian::little);

constexpr absl::string_view kRootPrefix = "reprise.ns.v1";

// Blocks up to this many tokens are hashed from the stack; larger ones are rare.
constexpr size_t kStackTokens = 512;

BlockKey FromHash(const Hash128& hash) { return {hash.hi, hash.lo}; }

// Copies in pieces of a size known here: for a size it can only bound, g++ emits a string
// instruction that takes longer than the whole hash.
void CopyTokens(absl::Span<const TokenId> tokens, std::byte* out) {
  constexpr size_t kPiece = 8;
  size_t i = 0;
  for (; i + kPiece <= tokens.size(); i += kPiece) {
    std::memcpy(out + i * sizeof(TokenId), &tokens[i], kPiece * sizeof(TokenId));
  }
  for (; i < tokens.size(); ++i) {
    std::memcpy(out + i * sizeof(TokenId), &tokens[i], sizeof(TokenId));
  }
}

// Writes parent and tokens to `buffer` ((16 + 4 * tokens) bytes) and hashes them.
BlockKey HashChild(const BlockKey& parent, absl::Span<const TokenId> tokens, std::byte* buffer) {
  std::memcpy(buffer, &parent.hi, 8);
  std::memcpy(buffer + 8, &parent.lo, 8);
  CopyTokens(tokens, buffer + 16);
  return FromHash(HashBytes128({buffer, 16 + tokens.size() * sizeof(TokenId)}));
}

}  // namespace

std::string BlockKey::ToHex() const { return absl::StrFormat("%016x%016x", hi, lo); }

BlockKey RootKey(const Hash128& secret, absl::string_view identity_encoding) {
  char secret_bytes[16];
  std::memcpy(secret_bytes, &secret.hi, 8);
  std::memcpy(secret_bytes + 8, &secret.lo, 8);
  const std::string input =
      absl::StrCat(kRootPrefix, absl::string_view(secret_bytes, 16), identity_encoding);
  return FromHash(HashBytes128({reinterpret_cast<const std::byte*>(input.data()), input.size()}));
}

BlockKey ChildKey(const BlockKey& parent, absl::Span<const TokenId> tokens) {
  if (tokens.size() <= kStackTokens) {
    std::byte buffer[16 + kStackTokens * sizeof(TokenId)];
    return HashChild(parent, tokens, buffer);
  }
  std::vector<std::byte> buffer(16 + tokens.size() * sizeof(TokenId));
  return HashChild(parent, tokens, buffer.data());
}

std::vector<BlockKey> ChainKeys(const BlockKey& root, absl::Span<const TokenId> tokens,
                                int32_t block_tokens) {
  CHECK(block_tokens > 0);
  const size_t step = static_cast<size_t>(block_tokens);
  std::vector<BlockKey> keys;
  keys.reserve(tokens.size() / step);
  BlockKey parent = root;
  for (size_t begin = 0; begin + step <= tokens.size(); begin += step) {
    parent = ChildKey(parent, tokens.subspan(begin, step));
    keys.push_back(parent);
  }
  return keys;
}

}  // namespace reprise::cachestore
