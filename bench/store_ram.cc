#include <cstddef>
#include <cstring>
#include <memory>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "bench/rounds.h"
#include "bench/store_rows.h"
#include "bench/synthetic.h"
#include "cachestore/base/check.h"
#include "cachestore/base/hash.h"
#include "cachestore/base/status_macros.h"
#include "cachestore/memory/host_arena.h"
#include "cachestore/store/tiered_store.h"

namespace reprise::bench {
namespace {

using cachestore::BlockKey;
using cachestore::HostArena;
using cachestore::NamespaceHandle;
using cachestore::TieredStore;
using cachestore::TokenId;

constexpr int64_t kMiB = int64_t{1} << 20;
constexpr int64_t kPutBytes = 2 * kMiB;

absl::StatusOr<std::unique_ptr<TieredStore>> OpenRamStore(int64_t capacity_bytes) {
  cachestore::StoreOptions options;
  options.ram.capacity_bytes = capacity_bytes;
  return TieredStore::Open(options);
}

enum class Checksum { kNone, kBesideCopy };

// Puts blocks of new prompts, a chain each, into a full store.
class Putter {
 public:
  Putter(TieredStore* store, const NamespaceHandle& ns, absl::Span<const std::byte> source)
      : store_(store), ns_(ns), source_(source) {}

  // Seconds to put everything in the source, block by block.
  absl::StatusOr<double> Put(Checksum checksum) {
    const size_t block_bytes = ns_.layout.BytesPerBlock();
    const size_t count = source_.size() / block_bytes;
    const std::vector<TokenId> tokens =
        SyntheticTokens(next_chain_++, static_cast<int64_t>(count) * kBlockTokens);
    absl::Status status;
    const double seconds = SecondsOf([&] {
      BlockKey parent = ns_.root;
      cachestore::BlockRef last;
      for (size_t i = 0; i < count && status.ok(); ++i) {
        auto block = store_->Allocate(ns_);
        status = block.status();
        if (!status.ok()) break;
        const absl::Span<const std::byte> payload = source_.subspan(i * block_bytes, block_bytes);
        std::optional<uint64_t> hash;
        if (checksum == Checksum::kBesideCopy) {
          hash = cachestore::CopyAndHash64(payload, block->bytes().data());
        } else {
          std::memcpy(block->bytes().data(), payload.data(), payload.size());
        }
        last =
            store_->Seal(ns_, *std::move(block), parent,
                         absl::MakeConstSpan(tokens).subspan(i * kBlockTokens, kBlockTokens), hash);
        parent = last.key();
      }
    });
    RETURN_IF_ERROR(status);
    return seconds;
  }

 private:
  TieredStore* const store_;
  const NamespaceHandle ns_;
  const absl::Span<const std::byte> source_;
  uint64_t next_chain_ = 0;
};

absl::StatusOr<std::vector<Result>> MeasurePut(Extent extent) {
  const int64_t arena_bytes = ByExtent<int64_t>(extent, 64 * kMiB, 2048 * kMiB);
  const int64_t source_bytes = ByExtent<int64_t>(extent, 16 * kMiB, 256 * kMiB);
  ASSIGN_OR_RETURN(const std::unique_ptr<TieredStore> store, OpenRamStore(arena_bytes));
  ASSIGN_OR_RETURN(const NamespaceHandle ns, store->OpenNamespace(SyntheticIdentity(kPutBytes)));
  // The limit copies between memory of the same kinds.
  ASSIGN_OR_RETURN(const std::unique_ptr<HostArena> target, HostArena::Reserve(arena_bytes));
  ASSIGN_OR_RETURN(const std::unique_ptr<HostArena> source, HostArena::Reserve(source_bytes));
  std::memset(source->bytes().data(), 1, source->bytes().size());
  Putter putter(store.get(), ns, source->bytes());
  for (int64_t put = 0; put < arena_bytes; put += source_bytes) {
    RETURN_IF_ERROR(putter.Put(Checksum::kNone).status());
  }
  int64_t at = 0;
  const Arm arms[] = {{"memcpy",
                       [&] {
                         const double seconds = SecondsOf([&] {
                           for (int64_t i = 0; i < source_bytes; i += kPutBytes) {
                             std::memcpy(target->bytes().data() + at + i,
                                         source->bytes().data() + i, kPutBytes);
                           }
                         });
                         at = (at + source_bytes) % arena_bytes;
                         return seconds;
                       }},
                      {"put", [&] { return putter.Put(Checksum::kNone); }},
                      {"put with checksum", [&] { return putter.Put(Checksum::kBesideCopy); }}};
  ASSIGN_OR_RETURN(const std::vector<double> seconds,
                   MedianOfRounds("ram.put", ByExtent(extent, 1, 41), arms));
  const auto gigabytes = [&](double s) { return static_cast<double>(source_bytes) / s / 1e9; };
  const std::map<std::string, std::string> context = {
      {"limit", "memcpy of the same blocks between memory of the same kind"},
      {"ram_bytes", absl::StrCat(arena_bytes)},
      {"state", "RAM is full: each put evicts a block"}};
  Result plain{.metric = "ram.put_2mib", .unit = "GB/s", .ours = gigabytes(seconds[1])};
  plain.limit = gigabytes(seconds[0]);
  plain.goal = Goal{Goal::Of::kOursOverLimit, Goal::Bound::kAtLeast, 0.90};
  plain.context = context;
  Result summed{
      .metric = "ram.put_2mib_checksummed", .unit = "GB/s", .ours = gigabytes(seconds[2])};
  summed.limit = gigabytes(seconds[0]);
  summed.goal = Goal{Goal::Of::kOursOverLimit, Goal::Bound::kAtLeast, 0.60};
  summed.context = context;
  return std::vector<Result>{std::move(plain), std::move(summed)};
}

// Median seconds of pinning one resident block, reading its address and unpinning it.
absl::StatusOr<Result> MeasureGet(Extent extent, int64_t block_bytes, const std::string& size) {
  constexpr int kBlocks = 16;
  ASSIGN_OR_RETURN(const std::unique_ptr<TieredStore> store, OpenRamStore(kBlocks * block_bytes));
  ASSIGN_OR_RETURN(const NamespaceHandle ns, store->OpenNamespace(SyntheticIdentity(block_bytes)));
  std::vector<std::vector<TokenId>> prompts;
  for (int i = 0; i < kBlocks; ++i) {
    prompts.push_back(SyntheticTokens(i, kBlockTokens));
    ASSIGN_OR_RETURN(cachestore::WritableBlock block, store->Allocate(ns));
    std::memset(block.bytes().data(), i, block.bytes().size());
    store->Seal(ns, std::move(block), ns.root, prompts.back());
  }
  std::vector<double> seconds;
  for (int i = 0; i < ByExtent(extent, 100, 200'000); ++i) {
    const std::vector<TokenId>& prompt = prompts[i % kBlocks];
    std::byte first{};
    size_t blocks = 0;
    seconds.push_back(SecondsOf([&] {
      cachestore::PinTicket ticket = store->Pin(ns, prompt, 1, nullptr);
      const cachestore::PinnedPrefix prefix = ticket.Take();
      blocks = prefix.blocks.size();
      first = prefix.blocks[0].bytes()[0];
    }));
    CHECK(blocks == 1 && first == static_cast<std::byte>(i % kBlocks));
  }
  Result row{.metric = absl::StrCat("ram.get_", size), .unit = "us", .ours = Median(seconds) * 1e6};
  row.goal = Goal{Goal::Of::kOurs, Goal::Bound::kAtMost, 1};
  row.context = {{"figure", "p50 of Pin, Take, reading a byte, unpin; one block, no copy"}};
  return row;
}

}  // namespace

absl::StatusOr<std::vector<Result>> MeasureRam(Extent extent) {
  ASSIGN_OR_RETURN(std::vector<Result> rows, MeasurePut(extent));
  for (const auto& [bytes, size] : {std::pair<int64_t, std::string>{kMiB / 8, "128kib"},
                                    {2 * kMiB, "2mib"},
                                    {16 * kMiB, "16mib"}}) {
    ASSIGN_OR_RETURN(Result row, MeasureGet(extent, bytes, size));
    rows.push_back(std::move(row));
  }
  return rows;
}

}  // namespace reprise::bench
