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

// Blocks up to this many words are hashed from the stack; larger ones are rare.
constexpr size_t kStackWords = 512;

BlockKey FromHash(const Hash128& hash) { return {hash.hi, hash.lo}; }

// Copies in pieces of a size known here: for a size it can only bound, g++ emits a string
// instruction that takes longer than the whole hash.
void CopyWords(absl::Span<const uint32_t> words, std::byte* out) {
  constexpr size_t kPiece = 8;
  size_t i = 0;
  for (; i + kPiece <= words.size(); i += kPiece) {
    std::memcpy(out + i * sizeof(uint32_t), &words[i], kPiece * sizeof(uint32_t));
  }
  for (; i < words.size(); ++i) {
    std::memcpy(out + i * sizeof(uint32_t), &words[i], sizeof(uint32_t));
  }
}

// Writes parent and words to `buffer` ((16 + 4 * words) bytes) and hashes them.
BlockKey HashChild(const BlockKey& parent, absl::Span<const uint32_t> words, std::byte* buffer) {
  std::memcpy(buffer, &parent.hi, 8);
  std::memcpy(buffer + 8, &parent.lo, 8);
  CopyWords(words, buffer + 16);
  return FromHash(HashBytes128({buffer, 16 + words.size() * sizeof(uint32_t)}));
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

BlockKey ChildKey(const BlockKey& parent, absl::Span<const uint32_t> words) {
  if (words.size() <= kStackWords) {
    std::byte buffer[16 + kStackWords * sizeof(uint32_t)];
    return HashChild(parent, words, buffer);
  }
  std::vector<std::byte> buffer(16 + words.size() * sizeof(uint32_t));
  return HashChild(parent, words, buffer.data());
}

std::vector<BlockKey> ChainKeys(const BlockKey& root, absl::Span<const uint32_t> words,
                                int32_t block_words, KeyDeriver derive) {
  CHECK(block_words > 0);
  const size_t step = static_cast<size_t>(block_words);
  std::vector<BlockKey> keys;
  keys.reserve(words.size() / step);
  BlockKey parent = root;
  for (size_t begin = 0; begin + step <= words.size(); begin += step) {
    parent = derive(parent, words.subspan(begin, step));
    keys.push_back(parent);
  }
  return keys;
}

}  // namespace reprise::cachestore
