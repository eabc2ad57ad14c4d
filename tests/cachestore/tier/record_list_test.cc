#include "cachestore/tier/record_list.h"

#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/cachestore/tier/block_samples.h"

namespace reprise::cachestore {
namespace {

constexpr int kRecords = 2000;
constexpr size_t kUnlimited = std::numeric_limits<size_t>::max();

class RecordListTest : public testing::Test {
 protected:
  RecordListTest() {
    auto catalog = BlockCatalog::Open(directory_.path() + "/index");
    CHECK(catalog.ok());
    catalog_ = *std::move(catalog);
    std::vector<std::vector<TokenId>> tokens(kRecords);
    std::vector<BlockCatalog::Entry> entries(kRecords);
    for (int i = 0; i < kRecords; ++i) {
      tokens[i].assign(1 + i % 40, static_cast<TokenId>(i));
      entries[i] = {.key = SampleBlock::KeyOf(i),
                    .record = {.payload_bytes = 4096, .sequence = SequenceOf(i)},
                    .tokens = tokens[i]};
    }
    CHECK(catalog_->Put(entries).ok());
  }

  // A permutation with gaps.
  static uint64_t SequenceOf(int i) { return 5 + 3 * ((uint64_t{997} * i) % kRecords); }

  void PutImpossible(uint64_t seed, const BlockRecord& record) {
    ASSERT_TRUE(
        catalog_->Put({{.key = SampleBlock::KeyOf(seed), .record = record, .tokens = {}}}).ok());
  }

  // The sequences in the order visited; checks keys and tokens.
  std::vector<uint64_t> Visit(size_t max_bytes, absl::Status* status) {
    std::vector<uint64_t> sequences;
    std::vector<TokenId> tokens;
    *status = VisitInOrder(
        *catalog_, max_bytes,
        [&](const BlockKey& key, const BlockRecord& record, absl::string_view encoded) {
          sequences.push_back(record.sequence);
          DecodeRecordTokens(encoded, &tokens);
          ASSERT_FALSE(tokens.empty());
          EXPECT_EQ(key, SampleBlock::KeyOf(tokens[0]));
          EXPECT_EQ(record.sequence, SequenceOf(static_cast<int>(tokens[0])));
          EXPECT_EQ(tokens.size(), 1 + tokens[0] % 40);
        });
    return sequences;
  }

  ScratchDirectory directory_;
  std::unique_ptr<BlockCatalog> catalog_;
};

TEST_F(RecordListTest, VisitsEveryRecordInOrderHoweverLittleMemoryThereIs) {
  std::vector<uint64_t> expected;
  for (uint64_t i = 0; i < kRecords; ++i) expected.push_back(5 + 3 * i);
  for (const size_t max_bytes : {kUnlimited, size_t{1} << 20, size_t{100000}, size_t{20000}}) {
    SCOPED_TRACE(max_bytes);
    absl::Status status;
    EXPECT_EQ(Visit(max_bytes, &status), expected);
    EXPECT_TRUE(status.ok()) << status;
  }
}

TEST_F(RecordListTest, CollectsAllOrSaysThatTheyDoNotFit) {
  const auto all = CollectRecords(*catalog_, kUnlimited);
  ASSERT_TRUE(all.ok()) << all.status();
  ASSERT_NE(all->records, nullptr);
  int num_records = 0;
  all->records->ForEach(
      [&](const BlockKey&, const BlockRecord&, absl::string_view) { ++num_records; });
  EXPECT_EQ(num_records, kRecords);
  const auto too_many = CollectRecords(*catalog_, 100000);
  ASSERT_TRUE(too_many.ok()) << too_many.status();
  EXPECT_EQ(too_many->records, nullptr);
}

TEST_F(RecordListTest, NamesTheRecordsThatCannotBe) {
  PutImpossible(1 << 20, {.payload_bytes = ~uint64_t{0} - 4095});
  PutImpossible(1 << 21, {.sequence = ~uint64_t{0}});
  PutImpossible(1 << 22, {.address = {.file_id = 0xffffffff}});
  for (const size_t max_bytes : {kUnlimited, size_t{50000}}) {
    const auto collected = CollectRecords(*catalog_, max_bytes);
    ASSERT_TRUE(collected.ok()) << collected.status();
    EXPECT_THAT(collected->unreadable, testing::UnorderedElementsAre(SampleBlock::KeyOf(1 << 20),
                                                                     SampleBlock::KeyOf(1 << 21),
                                                                     SampleBlock::KeyOf(1 << 22)));
    absl::Status status;
    EXPECT_EQ(Visit(max_bytes, &status).size(), size_t{kRecords});
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
    EXPECT_THAT(std::string(status.message()), testing::HasSubstr("3 records"));
  }
}

}  // namespace
}  // namespace reprise::cachestore
