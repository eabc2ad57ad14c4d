// BlockKey: names one full block given everything before it.
//
//     root key   = XXH3-128("reprise.ns.v1" ‖ store secret (16 bytes) ‖ identity encoding)
//     key of b   = XXH3-128(parent.hi ‖ parent.lo ‖ words of b), all little endian (u64, u64,
//     u32...); its words are its token ids, or the 8 words of its external key (BlockContent)
//
// XXH3 is fast and not collision resistant, so a key never decides alone: the index stores each
// block's parent and words and compares them (PrefixIndex). Formats: cachestore/README.md.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "cachestore/base/hash.h"
#include "cachestore/block/block_content.h"

namespace reprise::cachestore {

// Names the hash scheme above in handshakes; a client that hashes differently gets an error.
inline constexpr absl::string_view kHashSchemeId = "reprise-xxh3-128-v1";

struct BlockKey {
  uint64_t hi = 0;
  uint64_t lo = 0;

  friend bool operator==(const BlockKey&, const BlockKey&) = default;
  friend auto operator<=>(const BlockKey&, const BlockKey&) = default;
  template <typename H>
  friend H AbslHashValue(H h, const BlockKey& k) {
    return H::combine(std::move(h), k.lo, k.hi);
  }

  // 32 lower-case hex digits, hi first.
  std::string ToHex() const;
};

// Root of a namespace's key chain. `secret` is the store's persisted secret.
BlockKey RootKey(const Hash128& secret, absl::string_view identity_encoding);

// Key of the block whose words are `words` (exactly one block's worth) after `parent`.
BlockKey ChildKey(const BlockKey& parent, absl::Span<const uint32_t> words);

// How a store derives block keys: ChildKey, or what a test plugs in to force collisions.
using KeyDeriver = BlockKey (*)(const BlockKey& parent, absl::Span<const uint32_t> words);

// Keys of every full block of `words`, first block first; the partial tail has no key.
// REQUIRES: block_words > 0.
std::vector<BlockKey> ChainKeys(const BlockKey& root, absl::Span<const uint32_t> words,
                                int32_t block_words, KeyDeriver derive = ChildKey);

}  // namespace reprise::cachestore
