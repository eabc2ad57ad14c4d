// Every file operation under a store fails once, in turn (in the short form: the first ones and
// then some): nothing wrong is ever served, the store goes on working, and once the disk is well
// again it stores and serves as before.
#include <gtest/gtest.h>

#include <memory>
#include <utility>

#include "cachestore/tier/disk_tier.h"
#include "tests/cachestore/tier/faulty_block_files.h"
#include "tests/fakes/disk_store_fixture.h"
#include "tests/fakes/full_form.h"

namespace reprise::cachestore {
namespace {

constexpr int64_t kDiskBytes = int64_t{1} << 20;  // about 128 blocks, in files of 16
constexpr uint32_t kPrompts = 24;
constexpr int64_t kBlocks = 8;

class DiskFaultSweepTest : public DiskStoreFixture, public testing::WithParamInterface<Fault> {
 protected:
  // False when already opening the tier met the fault; then there is no store.
  bool OpenFaulty(int failing) {
    store_.reset();
    std::filesystem::remove_all(directory_);
    files_ = std::make_shared<FaultyBlockFiles>(failing, GetParam());
    auto tier =
        OpenDiskTier({.directory = directory_.string(), .capacity_bytes = kDiskBytes}, files_);
    if (!tier.ok()) return false;
    auto store = TieredStore::Open(Options(40), *std::move(tier));
    if (!store.ok()) return false;
    store_ = *std::move(store);
    ns_ = OpenNamespace(TestIdentity());
    return true;
  }

  // Chats of which some come back soon (from RAM), some later (from disk), and most never; returns
  // the blocks served.
  int64_t RunLoad() {
    int64_t served = 0;
    const auto chat = [&](uint32_t prompt) {
      // PinNow compares every byte.
      served += static_cast<int64_t>(PinNow(ns_, PromptTokens(prompt, kBlocks)).blocks.size());
      SealChain(ns_, PromptTokens(prompt, kBlocks));
    };
    for (uint32_t prompt = 0; prompt < kPrompts; ++prompt) {
      chat(prompt);
      if (prompt % 3 == 0) chat(prompt);
      if (prompt >= 8) chat(prompt - 8);
    }
    return served;
  }

  std::shared_ptr<FaultyBlockFiles> files_;
};

TEST_P(DiskFaultSweepTest, NothingWrongIsServedWhicheverOperationFails) {
  int fired = 0;
  int refused_to_open = 0;
  for (int failing = 1;; ++failing) {
    SCOPED_TRACE(testing::Message() << "operation " << failing);
    if (!OpenFaulty(failing)) {
      ASSERT_TRUE(files_->fired());
      ++refused_to_open;
      ++fired;
      continue;
    }
    RunLoad();
    if (!files_->fired()) break;  // fewer operations than that
    ++fired;
    files_->Heal();
    ASSERT_EQ(store_->CheckIntegrity(), absl::OkStatus());
    ExpectLookupsAreConserved();
    ASSERT_GT(RunLoad(), 0);
    ASSERT_TRUE(store_->Demote().ok());
    // A file system that was full is believed to be for a while.
    if (GetParam() != Fault::kNoSpace) {
      EXPECT_GT(store_->stats().disk_blocks, 0);
    }
    ASSERT_EQ(store_->CheckIntegrity(), absl::OkStatus());
    if (HasFailure()) return;
    if (!FullForm() && failing >= 25) failing += 40;
  }
  EXPECT_GT(fired, 20);
  EXPECT_LT(refused_to_open, fired);
}

INSTANTIATE_TEST_SUITE_P(Faults, DiskFaultSweepTest,
                         testing::Values(Fault::kIoError, Fault::kNoSpace, Fault::kShortRead),
                         [](const auto& info) {
                           switch (info.param) {
                             case Fault::kIoError:
                               return "IoError";
                             case Fault::kNoSpace:
                               return "NoSpace";
                             case Fault::kShortRead:
                               return "ShortRead";
                           }
                           return "";
                         });

}  // namespace
}  // namespace reprise::cachestore
