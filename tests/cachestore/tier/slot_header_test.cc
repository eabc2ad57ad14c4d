#include "cachestore/tier/slot_header.h"

#include <algorithm>
#include <string>

#include "absl/strings/escaping.h"
#include "cachestore/base/hash.h"
#include "cachestore/tier/aligned_bytes.h"
#include "cachestore/tier/little_endian.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace reprise::cachestore {
namespace {

constexpr SlotHeader kFields = {.key = {1, 2},
                                .parent = {3, 4},
                                .root = {5, 6},
                                .payload_bytes = 70000,
                                .payload_hash = 8,
                                .sequence = 9};
const SlotPieces kPieces = {.piece_bytes = 65536, .hashes = {10, 11}};

class SlotHeaderTest : public testing::Test {
 protected:
  SlotHeaderTest() { EncodeSlotHeader(kFields, kPieces, header_.span()); }

  std::string Bytes() {
    return std::string(reinterpret_cast<const char*>(header_.span().data()), kSlotHeaderBytes);
  }
  char* At(size_t offset) { return reinterpret_cast<char*>(header_.span().data()) + offset; }
  // Makes a change look as if it had been written.
  void Seal() { PutLittleEndian64(HashBytes64(header_.span().first(4088)), At(4088)); }
  std::string WhyNot() {
    const auto pieces = CheckSlotHeader(header_.span(), kFields);
    EXPECT_EQ(pieces.status().code(), absl::StatusCode::kDataLoss);
    return std::string(pieces.status().message());
  }

  AlignedBytes header_{kSlotHeaderBytes};
};

TEST_F(SlotHeaderTest, BytesAreThoseOfTheDiskFormat) {
  const std::string bytes = Bytes();
  EXPECT_EQ(bytes.substr(0, 8), "RPRSLOT1");
  EXPECT_EQ(absl::BytesToHexString(bytes.substr(8, 104)),
            "02000000"
            "00000000"
            "0100000000000000"
            "0200000000000000"
            "0300000000000000"
            "0400000000000000"
            "0500000000000000"
            "0600000000000000"
            "7011010000000000"
            "0800000000000000"
            "0900000000000000"
            "0000010000000000"
            "0a00000000000000"
            "0b00000000000000");
  EXPECT_EQ(bytes.substr(112, 3976), std::string(3976, '\0'));
  EXPECT_EQ(absl::BytesToHexString(bytes.substr(4088)), "2b54950e876bfe49");
  const auto pieces = CheckSlotHeader(header_.span(), kFields);
  ASSERT_TRUE(pieces.ok()) << pieces.status();
  EXPECT_EQ(pieces->piece_bytes, 65536u);
  EXPECT_THAT(pieces->hashes, testing::ElementsAre(10, 11));
}

TEST_F(SlotHeaderTest, InVersion1ThePayloadIsOnePiece) {
  PutLittleEndian32(1, At(8));
  std::fill(At(88), At(4088), '\0');
  Seal();
  EXPECT_EQ(absl::BytesToHexString(Bytes().substr(4088)), "58933bc5688e1053");
  const auto pieces = CheckSlotHeader(header_.span(), kFields);
  ASSERT_TRUE(pieces.ok()) << pieces.status();
  EXPECT_EQ(pieces->piece_bytes, 70000u);
  EXPECT_THAT(pieces->hashes, testing::ElementsAre(8));
}

TEST_F(SlotHeaderTest, ANewerVersionIsNoHeaderOfOurs) {
  for (const uint32_t version : {0u, 3u}) {
    PutLittleEndian32(version, At(8));
    Seal();
    EXPECT_THAT(WhyNot(), testing::HasSubstr("version"));
  }
}

TEST_F(SlotHeaderTest, PiecesThatCannotBeAreRefused) {
  // Nothing, no multiple of 4 KiB, and so short that there would be more than a header holds.
  for (const uint64_t piece_bytes : {uint64_t{0}, uint64_t{65535}, uint64_t{8192}}) {
    PutLittleEndian64(piece_bytes, At(88));
    Seal();
    EXPECT_THAT(WhyNot(), testing::HasSubstr("piece length"));
  }
}

}  // namespace
}  // namespace reprise::cachestore
