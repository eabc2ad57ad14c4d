#include "cachestore/tier/slot_pieces.h"

#include <vector>

#include "cachestore/base/hash.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace reprise::cachestore {
namespace {

constexpr uint64_t kKiB = 1024;

std::vector<std::byte> Payload(size_t size) {
  std::vector<std::byte> payload(size);
  for (size_t i = 0; i < size; ++i) payload[i] = static_cast<std::byte>(i * 31 + i / 251);
  return payload;
}

TEST(SlotPiecesTest, APieceIsAnEighthAndNotTooShort) {
  EXPECT_EQ(SlotPieceBytes(1), 64 * kKiB);
  EXPECT_EQ(SlotPieceBytes(512 * kKiB), 64 * kKiB);
  EXPECT_EQ(SlotPieceBytes(512 * kKiB + 1), 68 * kKiB);
  EXPECT_EQ(SlotPieceBytes(2048 * kKiB), 256 * kKiB);
  EXPECT_EQ(SlotPieceBytes(16384 * kKiB), 2048 * kKiB);
  for (uint64_t bytes = 1; bytes <= 16384 * kKiB; bytes += 12345) {
    const uint64_t piece = SlotPieceBytes(bytes);
    EXPECT_LE((bytes + piece - 1) / piece, kMaxSlotPieces) << bytes;
  }
}

TEST(SlotPiecesTest, HashesAreThoseOfTheWholeAndOfEachPiece) {
  const std::vector<std::byte> payload = Payload(150000);
  const absl::Span<const std::byte> bytes(payload);
  const HashedPayload hashed = HashSlotPayload(payload);
  EXPECT_EQ(hashed.hash, HashBytes64(bytes));
  EXPECT_EQ(hashed.pieces.piece_bytes, 65536u);
  EXPECT_THAT(hashed.pieces.hashes, testing::ElementsAre(HashBytes64(bytes.subspan(0, 65536)),
                                                         HashBytes64(bytes.subspan(65536, 65536)),
                                                         HashBytes64(bytes.subspan(131072))));
}

TEST(SlotPiecesTest, OnlyWholePiecesCount) {
  const SlotPieces pieces = {.piece_bytes = 65536, .hashes = {1, 2, 3}};
  EXPECT_EQ(WholePieceBytes(pieces, 150000, 65535), 0u);
  EXPECT_EQ(WholePieceBytes(pieces, 150000, 65536), 65536u);
  EXPECT_EQ(WholePieceBytes(pieces, 150000, 149999), 131072u);
  EXPECT_EQ(WholePieceBytes(pieces, 150000, 150000), 150000u);
}

TEST(SlotPiecesTest, AFlippedBitIsFoundInItsPieceAlone) {
  std::vector<std::byte> payload = Payload(150000);
  const SlotPieces pieces = HashSlotPayload(payload).pieces;
  EXPECT_TRUE(CheckSlotPieces(pieces, payload, 0, 150000).ok());
  payload[131072 - 1] ^= std::byte{1};
  EXPECT_TRUE(CheckSlotPieces(pieces, payload, 0, 65536).ok());
  EXPECT_TRUE(CheckSlotPieces(pieces, payload, 131072, 150000).ok());
  const absl::Status found = CheckSlotPieces(pieces, payload, 0, 150000);
  EXPECT_EQ(found.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(found.message()), testing::HasSubstr("bytes 65536 to 131071"));
}

}  // namespace
}  // namespace reprise::cachestore
