#include "cachestore/tier/slot_bitmap.h"

#include <random>
#include <vector>

#include "gtest/gtest.h"

namespace reprise::cachestore {
namespace {

TEST(SlotBitmapTest, TakesTheFirstRunThatIsLongEnough) {
  SlotBitmap slots(200);
  for (uint32_t slot : {3u, 10u, 70u, 71u, 150u}) slots.Use(slot);
  EXPECT_EQ(slots.num_free(), 195u);
  const SlotRun run = slots.TakeRun(20);
  EXPECT_EQ(run.first, 11u);
  EXPECT_EQ(run.count, 20u);
  EXPECT_EQ(slots.num_free(), 175u);
}

TEST(SlotBitmapTest, TakesTheLongestRunWhenNoneIsLongEnough) {
  SlotBitmap slots(130);
  for (uint32_t slot : {60u, 128u}) slots.Use(slot);
  const SlotRun run = slots.TakeRun(100);
  EXPECT_EQ(run.first, 61u);
  EXPECT_EQ(run.count, 67u);
}

TEST(SlotBitmapTest, AFullBitmapGivesNothing) {
  SlotBitmap slots(65);
  EXPECT_EQ(slots.TakeRun(65).count, 65u);
  EXPECT_EQ(slots.num_free(), 0u);
  EXPECT_EQ(slots.TakeRun(1).count, 0u);
  slots.Free(64);
  const SlotRun run = slots.TakeRun(5);
  EXPECT_EQ(run.first, 64u);
  EXPECT_EQ(run.count, 1u);
}

TEST(SlotBitmapTest, AgreesWithAPlainArrayUnderRandomUse) {
  std::mt19937 random(3);
  int num_runs = 0, num_shortened = 0;
  for (uint32_t size : {1u, 63u, 64u, 65u, 300u}) {
    SlotBitmap slots(size);
    std::vector<bool> model(size, false);
    for (int step = 0; step < 2000; ++step) {
      const uint32_t slot = random() % size;
      if (model[slot]) {
        slots.Free(slot);
        model[slot] = false;
      }
      const uint32_t wanted = 1 + random() % 5;
      const SlotRun run = slots.TakeRun(wanted);
      num_runs += run.count > 0;
      num_shortened += run.count < wanted;
      for (uint32_t i = 0; i < run.count; ++i) {
        ASSERT_FALSE(model[run.first + i]) << "a used slot was given away";
        model[run.first + i] = true;
      }
      uint32_t num_free = 0;
      for (uint32_t i = 0; i < size; ++i) {
        ASSERT_EQ(slots.used(i), model[i]);
        num_free += !model[i];
      }
      ASSERT_EQ(slots.num_free(), num_free);
    }
  }
  EXPECT_GT(num_runs, 1000);
  EXPECT_GT(num_shortened, 100);
}

}  // namespace
}  // namespace reprise::cachestore
