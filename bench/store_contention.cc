#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "bench/generated_tier.h"
#include "bench/rounds.h"
#include "bench/store_rows.h"
#include "bench/synthetic.h"
#include "cachestore/base/status_macros.h"
#include "cachestore/store/tiered_store.h"

namespace reprise::bench {
namespace {

using cachestore::NamespaceHandle;
using cachestore::TieredStore;
using cachestore::TokenId;

constexpr int64_t kChainBlocks = 64;
constexpr int64_t kChainsPerThread = 32;

// Lookups per second of `num_threads` threads in all.
double LookupsPerSecond(const TieredStore& store, const NamespaceHandle& ns, int64_t num_chains,
                        int num_threads, std::chrono::milliseconds duration) {
  absl::Notification start;
  std::atomic<bool> stop = false;
  std::atomic<int64_t> lookups = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < num_threads; ++t) {
    threads.emplace_back([&, t] {
      Random random(t);
      std::vector<std::vector<TokenId>> prompts;
      for (int64_t i = 0; i < kChainsPerThread; ++i) {
        prompts.push_back(SyntheticTokens(random.Below(num_chains), kChainBlocks * kBlockTokens));
      }
      start.WaitForNotification();
      int64_t mine = 0;
      // Read while others write it: one thread's count lags by a lookup at most.
      for (; !stop.load(std::memory_order_relaxed); ++mine) {
        store.Match(ns, prompts[mine % kChainsPerThread], kChainBlocks);
      }
      lookups.fetch_add(mine, std::memory_order_relaxed);
    });
  }
  const double seconds = SecondsOf([&] {
    start.Notify();
    std::this_thread::sleep_for(duration);
    stop.store(true, std::memory_order_relaxed);
    for (std::thread& thread : threads) thread.join();
  });
  return static_cast<double>(lookups) / seconds;
}

}  // namespace

absl::StatusOr<std::vector<Result>> MeasureContention(Extent extent) {
  const cachestore::NamespaceIdentity identity = SyntheticIdentity(4096);
  const int64_t num_blocks = ByExtent<int64_t>(extent, 10'000, 1'000'000);
  const std::vector<int64_t> chains = ChainLengths({kChainBlocks}, num_blocks);
  cachestore::StoreOptions options;
  options.ram.capacity_bytes = 64 * 4096;
  ASSIGN_OR_RETURN(const std::unique_ptr<TieredStore> store,
                   TieredStore::Open(options, std::make_unique<GeneratedTier>(identity, chains)));
  ASSIGN_OR_RETURN(const NamespaceHandle ns, store->OpenNamespace(identity));

  const int num_threads[] = {1, 2, 8, 64};
  const std::chrono::milliseconds duration(ByExtent(extent, 10, 500));
  std::vector<Arm> arms;
  for (const int n : num_threads) {
    arms.push_back({absl::StrCat(n, " threads"), [&, n] {
                      return LookupsPerSecond(*store, ns, static_cast<int64_t>(chains.size()), n,
                                              duration);
                    }});
  }
  ASSIGN_OR_RETURN(const std::vector<double> rates,
                   MedianOfRounds("contention", ByExtent(extent, 1, 11), arms));
  const int cores = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  std::vector<Result> rows;
  for (size_t i = 1; i < rates.size(); ++i) {
    Result row{.metric = absl::StrCat("contention.lookups_", num_threads[i], "_threads"),
               .unit = "lookups/s",
               .ours = rates[i]};
    row.limit = rates[0] * std::min(num_threads[i], cores);
    row.goal = Goal{Goal::Of::kOursOverLimit, Goal::Bound::kAtLeast, 0.8};
    row.context = {{"limit", "one thread's rate times the cores that the threads can use"},
                   {"cores", absl::StrCat(cores)},
                   {"lookup", "Match of a prompt of 64 blocks, resident"},
                   {"blocks", absl::StrCat(num_blocks)}};
    rows.push_back(std::move(row));
  }
  return rows;
}

}  // namespace reprise::bench
