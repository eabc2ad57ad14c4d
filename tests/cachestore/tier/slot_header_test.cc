#include "cachestore/tier/slot_header.h"

#include <string>

#include "absl/strings/escaping.h"
#include "cachestore/tier/aligned_bytes.h"
#include "gtest/gtest.h"

namespace reprise::cachestore {
namespace {

TEST(SlotHeaderTest, BytesAreThoseOfTheDiskFormat) {
  AlignedBytes header(kSlotHeaderBytes);
  const SlotHeader fields = {.key = {1, 2},
                             .parent = {3, 4},
                             .root = {5, 6},
                             .payload_bytes = 7,
                             .payload_hash = 8,
                             .sequence = 9};
  EncodeSlotHeader(fields, header.span());
  const std::string bytes(reinterpret_cast<const char*>(header.span().data()), kSlotHeaderBytes);
  EXPECT_EQ(bytes.substr(0, 8), "RPRSLOT1");
  EXPECT_EQ(absl::BytesToHexString(bytes.substr(8, 80)),
            "01000000"
            "00000000"
            "0100000000000000"
            "0200000000000000"
            "0300000000000000"
            "0400000000000000"
            "0500000000000000"
            "0600000000000000"
            "0700000000000000"
            "0800000000000000"
            "0900000000000000");
  EXPECT_EQ(bytes.substr(88, 4000), std::string(4000, '\0'));
  EXPECT_EQ(absl::BytesToHexString(bytes.substr(4088)), "69d3361ebcb07535");
  EXPECT_TRUE(CheckSlotHeader(header.span(), fields).ok());
}

}  // namespace
}  // namespace reprise::cachestore
