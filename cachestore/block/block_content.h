// BlockContent: what names the blocks of a prompt: its token ids or, in a namespace marked
// external, the 256-bit keys that the caller brings, one per block.
//
// Either way it is a row of 32-bit words: token ids as they are, a key as 8 words. The words are
// what keys are derived from and what the index stores and compares, so that everything behind this
// file has one case. An external key is trusted to name all of its block, the namespace isolates
// it.
#pragma once

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace reprise::cachestore {

using TokenId = uint32_t;

// Who names the blocks of a namespace. Values are persisted in its identity: never renumber.
enum class KeySource : uint8_t {
  kTokens = 1,    // the store, by token ids
  kExternal = 2,  // the caller, by ExternalKeys
};

// An opaque key of 32 bytes, compared as a whole. Immutable value type.
struct ExternalKey {
  static constexpr size_t kBytes = 32;
  static constexpr size_t kWords = 8;

  std::array<uint32_t, kWords> words = {};  // the 32 bytes as they lie in memory

  friend bool operator==(const ExternalKey&, const ExternalKey&) = default;

  // kInvalidArgument: not 32 bytes.
  static absl::StatusOr<ExternalKey> FromBytes(absl::string_view bytes);
  // 64 hex digits of either case, first byte first. kInvalidArgument: anything else.
  static absl::StatusOr<ExternalKey> FromHex(absl::string_view hex);
  std::string ToBytes() const;
  // 64 lower-case hex digits, first byte first.
  std::string ToHex() const;
};
static_assert(sizeof(ExternalKey) == ExternalKey::kBytes);

// A view; what it was made from must outlive it.
class BlockContent {
 public:
  // No blocks, named by tokens.
  BlockContent() : source_(KeySource::kTokens) {}
  // The words themselves.
  BlockContent(KeySource source, absl::Span<const uint32_t> words)
      : source_(source), words_(words) {}
  // Anything that is a row of token ids.
  template <std::convertible_to<absl::Span<const TokenId>> Tokens>
  BlockContent(const Tokens& tokens) : source_(KeySource::kTokens), words_(tokens) {}
  // Anything that is a row of external keys.
  template <std::convertible_to<absl::Span<const ExternalKey>> Keys>
  BlockContent(const Keys& keys)
      : source_(KeySource::kExternal), words_(WordsOf(absl::Span<const ExternalKey>(keys))) {}

  KeySource source() const { return source_; }
  absl::Span<const uint32_t> words() const { return words_; }

 private:
  static absl::Span<const uint32_t> WordsOf(absl::Span<const ExternalKey> keys);

  KeySource source_;
  absl::Span<const uint32_t> words_;
};

}  // namespace reprise::cachestore
