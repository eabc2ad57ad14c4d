#include "cachestore/store/what_if_curves.h"

#include <gtest/gtest.h>

#include <numeric>
#include <optional>
#include <string>
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

// However many tenants have a quota, one by one and little of the time.
TEST(WhatIfCurvesTest, TheCurvesOfAllSharesTakeTurnsToBePutInOrder) {
  constexpr uint32_t kShares = 100;
  constexpr uint64_t kSamples = 300;
  constexpr int kSteps = 10'000;
  std::vector<int64_t> looks(kShares, 0);  // at samples, by share
  std::vector<std::vector<BlockKey>> keys(kShares);
  for (uint64_t i = 0; i < kShares * kSamples; ++i) {
    keys[i % kShares].push_back({.hi = 0, .lo = i});  // all are watched
  }
  WhatIfCurves curves(int64_t{1} << 30, [&](const BlockKey& key) {
    ++looks[key.lo % kShares];
    return std::optional<uint64_t>(key.lo);
  });
  const ShareSizes sizes = {.ram_bytes = int64_t{1} << 30};
  int64_t looks_before = 0;
  for (int step = 0; step < kSteps; ++step) {
    const uint32_t share = static_cast<uint32_t>(step) % kShares;
    const std::string tenant = std::to_string(share);
    // A millisecond from one lookup to the next.
    curves.OnLookup({.keys = keys[share],
                     .block_tokens = 1,
                     .slot_bytes = kSlotBytes,
                     .namespace_id = share,
                     .share = share,
                     .tenant = tenant},
                    sizes, absl::UnixEpoch() + absl::Milliseconds(step));
    const int64_t now = std::accumulate(looks.begin(), looks.end(), int64_t{0});
    EXPECT_LE(now - looks_before, int64_t{kSamples}) << "one curve a lookup";
    looks_before = now;
  }
  // At 0.2 us a look, a two-hundredth of the time.
  EXPECT_LE(0.2e-6 * static_cast<double>(looks_before), 0.005 * (1e-3 * kSteps + 0.1));
  for (uint32_t share = 0; share < kShares; ++share) EXPECT_GT(looks[share], 0) << share;
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
