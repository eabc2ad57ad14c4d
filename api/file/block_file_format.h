// The file that Export makes and Import takes (api/README.md, "Files of blocks"). Version 1, all
// numbers little endian:
//
//     magic (8)  version u32  length u32  hash scheme  length u32  identity  XXH3-64 of all so far
//     'B'  depth u32  words u32 x block_words  payload  XXH3-64 of the record so far     any number
//     'E'  blocks u64  XXH3-64 of all of the file so far
//
// A block's parent is the last record before it whose depth is one less.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace reprise::api {

inline constexpr absl::string_view kBlockFileMagic("RPRSKV\r\n", 8);
inline constexpr uint32_t kBlockFileVersion = 1;
inline constexpr char kBlockRecord = 'B';
inline constexpr char kEndRecord = 'E';
inline constexpr size_t kEndRecordBytes = 1 + 8 + 8;
// Longest text in a header, checked before it is allocated.
inline constexpr uint32_t kMaxHeaderText = 1 << 16;
// Most bytes of one FileChunk.
inline constexpr size_t kFileChunkBytes = size_t{1} << 20;

inline absl::Span<const std::byte> BytesOf(absl::string_view text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

inline void AppendU32(uint32_t value, std::string* to) {
  for (int shift = 0; shift < 32; shift += 8) to->push_back(static_cast<char>(value >> shift));
}
inline void AppendU64(uint64_t value, std::string* to) {
  for (int shift = 0; shift < 64; shift += 8) to->push_back(static_cast<char>(value >> shift));
}
// REQUIRES: `from` has so many bytes.
inline uint32_t ReadU32(const char* from) {
  uint32_t value = 0;
  for (int i = 0; i < 4; ++i) value |= uint32_t{static_cast<unsigned char>(from[i])} << (8 * i);
  return value;
}
inline uint64_t ReadU64(const char* from) {
  return ReadU32(from) | uint64_t{ReadU32(from + 4)} << 32;
}

// The number of blocks that the end of a file tells. REQUIRES: `end_record` is a whole one.
inline int64_t NumBlocksIn(absl::string_view end_record) {
  return static_cast<int64_t>(ReadU64(end_record.data() + 1));
}

}  // namespace reprise::api
