#include "cachestore/tier/block_record.h"

#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace reprise::cachestore {
namespace {

const BlockRecord kRecord = {.parent = {0x1122334455667788, 0x99aabbccddeeff00},
                             .root = {1, 2},
                             .payload_bytes = 0x1000,
                             .payload_hash = 0x0102030405060708,
                             .sequence = 9,
                             .address = {.file_id = 3, .slot = 4}};

TEST(BlockRecordTest, BytesAreThoseOfTheDiskFormat) {
  const std::vector<TokenId> tokens = {5, 0x01020304};
  EXPECT_EQ(absl::BytesToHexString(EncodeBlockRecord(kRecord, tokens)),
            "01000000"
            "02000000"
            "8877665544332211"
            "00ffeeddccbbaa99"
            "0100000000000000"
            "0200000000000000"
            "0010000000000000"
            "0807060504030201"
            "0900000000000000"
            "03000000"
            "04000000"
            "05000000"
            "04030201");
  EXPECT_EQ(absl::BytesToHexString(EncodeIndexKey({0x1122334455667788, 9})),
            "1122334455667788"
            "0000000000000009");
}

TEST(BlockRecordTest, DecodesWhatItEncoded) {
  const std::vector<TokenId> tokens = {7, 8, 9};
  const std::string bytes = EncodeBlockRecord(kRecord, tokens);
  const absl::StatusOr<BlockRecord> decoded = DecodeBlockRecord(bytes);
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  EXPECT_EQ(decoded->parent, kRecord.parent);
  EXPECT_EQ(decoded->root, kRecord.root);
  EXPECT_EQ(decoded->payload_bytes, kRecord.payload_bytes);
  EXPECT_EQ(decoded->payload_hash, kRecord.payload_hash);
  EXPECT_EQ(decoded->sequence, kRecord.sequence);
  EXPECT_EQ(decoded->address, kRecord.address);
  std::vector<TokenId> decoded_tokens;
  DecodeRecordTokens(bytes, &decoded_tokens);
  EXPECT_EQ(decoded_tokens, tokens);
  EXPECT_EQ(DecodeIndexKey(EncodeIndexKey(kRecord.parent)), kRecord.parent);
}

TEST(BlockRecordTest, RefusesEveryOtherLengthAndVersion) {
  std::string bytes = EncodeBlockRecord(kRecord, std::vector<TokenId>{7, 8, 9});
  ASSERT_TRUE(DecodeBlockRecord(bytes).ok());
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_EQ(DecodeBlockRecord(bytes.substr(0, size)).status().code(),
              absl::StatusCode::kDataLoss);
  }
  EXPECT_EQ(DecodeBlockRecord(bytes + "x").status().code(), absl::StatusCode::kDataLoss);
  bytes[0] = 2;
  const absl::Status newer = DecodeBlockRecord(bytes).status();
  EXPECT_EQ(newer.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(newer.message()), testing::HasSubstr("version 2"));
}

}  // namespace
}  // namespace reprise::cachestore
