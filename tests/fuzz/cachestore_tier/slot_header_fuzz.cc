// Slot headers: a header passes for a block only if it is, byte for byte, that block's header.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "cachestore/base/check.h"
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
  std::vector<std::byte> right(kSlotHeaderBytes);
  EncodeSlotHeader(claimed, absl::MakeSpan(right));
  CHECK(CheckSlotHeader(bytes, claimed).ok() == (bytes == right));
  // The same bytes never pass for another block.
  SlotHeader other = claimed;
  other.key.lo ^= 1;
  CHECK(!CheckSlotHeader(bytes, other).ok());
  return 0;
}
