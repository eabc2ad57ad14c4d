// Slot headers: a header passes for a block only if it is that block's header, byte for byte where
// it is of the version that is written.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "cachestore/base/check.h"
#include "cachestore/base/hash.h"
#include "cachestore/tier/little_endian.h"
#include "cachestore/tier/slot_header.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace reprise::cachestore;  // NOLINT
  std::vector<std::byte> bytes(kSlotHeaderBytes);
  std::memcpy(bytes.data(), data, std::min(size, bytes.size()));
  const char* in = reinterpret_cast<const char*>(bytes.data());
  // The block that the header itself claims to be, so that every later check is reached.
  const SlotHeader claimed = {
      .key = {GetLittleEndian64(in + 16), GetLittleEndian64(in + 24)},
      .parent = {GetLittleEndian64(in + 32), GetLittleEndian64(in + 40)},
      .root = {GetLittleEndian64(in + 48), GetLittleEndian64(in + 56)},
      .payload_bytes = GetLittleEndian64(in + 64),
      .payload_hash = GetLittleEndian64(in + 72),
      .sequence = GetLittleEndian64(in + 80),
  };
  const auto pieces = CheckSlotHeader(bytes, claimed);
  std::vector<std::byte> right(kSlotHeaderBytes);
  if (pieces.ok()) {
    CHECK(pieces->hashes.size() <= kMaxSlotPieces);
    CHECK(GetLittleEndian64(in + 4088) == HashBytes64(absl::MakeSpan(bytes).first(4088)));
    if (GetLittleEndian32(in + 8) != 1) {
      EncodeSlotHeader(claimed, *pieces, absl::MakeSpan(right));
      CHECK(std::equal(bytes.begin(), bytes.begin() + 160, right.begin()));
    }
  }
  // What is written passes.
  SlotHeader written = claimed;
  written.payload_bytes %= uint64_t{1} << 40;
  SlotPieces parts = {.piece_bytes = SlotPieceBytes(written.payload_bytes), .hashes = {}};
  for (uint64_t at = 0; at < written.payload_bytes; at += parts.piece_bytes) {
    parts.hashes.push_back(GetLittleEndian64(in + 96 + 8 * parts.hashes.size()));
  }
  EncodeSlotHeader(written, parts, absl::MakeSpan(right));
  const auto read = CheckSlotHeader(right, written);
  CHECK(read.ok() && read->piece_bytes == parts.piece_bytes && read->hashes == parts.hashes);
  // The same bytes never pass for another block.
  SlotHeader other = claimed;
  other.key.lo ^= 1;
  CHECK(!CheckSlotHeader(bytes, other).ok());
  return 0;
}
