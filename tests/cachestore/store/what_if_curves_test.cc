#include "cachestore/store/what_if_curves.h"

#include <gtest/gtest.h>

#include <vector>

#include "absl/time/clock.h"
#include "cachestore/base/hash.h"

namespace reprise::cachestore {
namespace {

constexpr int64_t kBlocks = 4000;
constexpr int64_t kSlotBytes = 4096;
constexpr int64_t kDiskBytes = 2048;  // a block takes less there

std::vector<BlockKey> Keys() {
  std::vector<BlockKey> keys;
  for (uint64_t i = 0; i < kBlocks; ++i) {
    const Hash128 hash =
        HashBytes128(absl::MakeConstSpan(reinterpret_cast<const std::byte*>(&i), sizeof(i)));
    keys.push_back({hash.hi, hash.lo});
  }
  return keys;
}

TEST(WhatIfCurvesTest, WhatRamAndDiskBothHaveCountsOnce) {
  const std::vector<BlockKey> keys = Keys();
  WhatIfCurves curves(int64_t{1} << 30, nullptr);
  ShareSizes sizes = {.ram_bytes = kBlocks / 4 * kSlotBytes,
                      .disk_bytes = kBlocks * 3 / 4 * kDiskBytes};
  const WatchedRun run = {.keys = keys,
                          .block_tokens = 1,
                          .slot_bytes = kSlotBytes,
                          .disk_bytes = kDiskBytes,
                          .tenant = "t"};
  for (int i = 0; i < 2; ++i) curves.OnLookup(run, sizes, absl::Now());
  ASSERT_EQ(curves.num_tenants(), 1u);
  const auto ratio = [&](size_t point, double only_in_ram) {
    sizes.only_in_ram = only_in_ram;
    const TenantWhatIf tenant = curves.OfTenant(0, sizes);
    EXPECT_EQ(tenant.disk[point].bytes,
              tenant.disk[point].factor * kBlocks / 4 * kSlotBytes +
                  tenant.disk[point].factor * kBlocks * 3 / 4 * kDiskBytes);
    return tenant.disk[point].hit_tokens / tenant.looked_up_tokens;
  };
  // The first time all is missed; the second time as much of it is there as fits.
  EXPECT_NEAR(ratio(1, 1), 0.5, 0.03);
  EXPECT_NEAR(ratio(1, 0), 0.375, 0.03);
  EXPECT_NEAR(ratio(0, 1), 0.25, 0.03);
  EXPECT_NEAR(ratio(0, 0.5), 0.219, 0.03);
  EXPECT_NEAR(ratio(2, 0), 0.5, 0.03);
}

TEST(WhatIfCurvesTest, NobodyHasTheSizesAlone) {
  const TenantWhatIf nothing = WhatIfCurves::Nothing({.ram_bytes = 100});
  ASSERT_EQ(nothing.ram.size(), 4u);
  EXPECT_EQ(nothing.ram[0].bytes, 50);
  EXPECT_EQ(nothing.ram[3].bytes, 400);
  EXPECT_TRUE(nothing.disk.empty());
}

}  // namespace
}  // namespace reprise::cachestore
