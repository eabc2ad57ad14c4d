#include "cachestore/store/transfer_queue.h"

#include <gtest/gtest.h>

#include <vector>

#include "absl/synchronization/notification.h"

namespace reprise::cachestore {
namespace {

TEST(TransferQueueTest, BlocksAreWorkedOnInOrderAndAllOfThemBeforeClose) {
  std::vector<BlockId> seen;
  TransferQueue queue(1, 100, [&](BlockId id) { seen.push_back(id); });
  for (BlockId id = 0; id < 100; ++id) ASSERT_TRUE(queue.TryPush(id));
  queue.Close();
  ASSERT_EQ(seen.size(), 100u);
  for (BlockId id = 0; id < 100; ++id) EXPECT_EQ(seen[id], id);
  EXPECT_FALSE(queue.TryPush(1)) << "closed";
}

TEST(TransferQueueTest, AFullQueueRefusesInsteadOfWaiting) {
  absl::Notification started;
  absl::Notification release;
  TransferQueue queue(1, 2, [&](BlockId id) {
    if (id != 0) return;
    started.Notify();
    release.WaitForNotification();
  });
  ASSERT_TRUE(queue.TryPush(0));
  started.WaitForNotification();
  EXPECT_TRUE(queue.TryPush(1));
  EXPECT_TRUE(queue.TryPush(2));
  EXPECT_FALSE(queue.TryPush(3));
  release.Notify();
}

}  // namespace
}  // namespace reprise::cachestore
