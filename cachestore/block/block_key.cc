#include "cachestore/block/block_key.h"

#include <algorithm>
#include <array>
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

constexpr size_t kKeysAtATime = 64;

BlockKey FromHash(const Hash128& hash) { return {hash.hi, hash.lo}; }

absl::Span<const std::byte> BytesOf(absl::Span<const uint32_t> words) {
  return {reinterpret_cast<const std::byte*>(words.data()), words.size() * sizeof(uint32_t)};
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
  Hash128 key;
  HashChain128({parent.hi, parent.lo}, BytesOf(words), words.size() * sizeof(uint32_t), {&key, 1});
  return FromHash(key);
}

std::vector<BlockKey> ChainKeys(const BlockKey& root, absl::Span<const uint32_t> words,
                                int32_t block_words, KeyDeriver derive) {
  CHECK(block_words > 0);
  const size_t step = static_cast<size_t>(block_words);
  std::vector<BlockKey> keys(words.size() / step);
  BlockKey parent = root;
  if (derive != ChildKey) {
    for (size_t i = 0; i < keys.size(); ++i) {
      parent = keys[i] = derive(parent, words.subspan(i * step, step));
    }
    return keys;
  }
  std::array<Hash128, kKeysAtATime> links;
  for (size_t begin = 0; begin < keys.size(); begin += links.size()) {
    const size_t count = std::min(links.size(), keys.size() - begin);
    HashChain128({parent.hi, parent.lo}, BytesOf(words.subspan(begin * step, count * step)),
                 step * sizeof(uint32_t), absl::MakeSpan(links).first(count));
    std::transform(links.begin(), links.begin() + count, keys.begin() + begin, FromHash);
    parent = keys[begin + count - 1];
  }
  return keys;
}

}  // namespace reprise::cachestore
