#include <fcntl.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "bench/disk_rows.h"
#include "bench/forwarded_block_files.h"
#include "bench/machine.h"
#include "bench/progress.h"
#include "bench/rounds.h"
#include "bench/synthetic.h"
#include "bench/temp_folder.h"
#include "cachestore/base/check.h"
#include "cachestore/base/status_macros.h"
#include "cachestore/store/tiered_store.h"
#include "cachestore/tier/block_file.h"
#include "cachestore/tier/disk_tier.h"

namespace reprise::bench {
namespace {

using cachestore::BackingTier;
using cachestore::BlockFile;
using cachestore::BlockFileSystem;
using cachestore::BlockKey;
using cachestore::BlockToStore;
using cachestore::BlockWrite;
using cachestore::TieredStore;
using cachestore::TokenId;

constexpr int64_t kBlockBytes = 4096;
constexpr int64_t kSlotBytes = 8192;  // header and payload
constexpr int64_t kChainBlocks = 64;
constexpr int64_t kBatchBlocks = 4096;

// Payload files that are created and never written: recovery does not read them. What is stored
// through them cannot be loaded.
class UnwrittenFiles final : public ForwardedBlockFiles {
 private:
  class File final : public ForwardedBlockFile {
   public:
    File(BlockFileSystem* files, std::unique_ptr<BlockFile> file)
        : ForwardedBlockFile(std::move(file)), files_(files) {}
    void StartWrites(std::vector<BlockWrite> batch) override {
      for (BlockWrite& write : batch) {
        files_->Post(
            [done = std::move(write.done)]() mutable { std::move(done)(absl::OkStatus()); });
      }
    }
    absl::Status Sync() override { return absl::OkStatus(); }

   private:
    BlockFileSystem* const files_;
  };

  std::unique_ptr<BlockFile> Changed(std::unique_ptr<BlockFile> file) override {
    return std::make_unique<File>(this, std::move(file));
  }
};

struct AlignedPage {
  alignas(cachestore::kIoAlignment) std::byte bytes[kBlockBytes] = {};
};

// Stores `num_blocks` blocks in a new disk tier in `directory`, whose payload is never written.
absl::Status StoreRecords(const std::string& directory, int64_t num_blocks) {
  const cachestore::NamespaceIdentity identity = SyntheticIdentity(kBlockBytes);
  ASSIGN_OR_RETURN(const std::unique_ptr<BackingTier> tier,
                   OpenDiskTier({.directory = directory, .capacity_bytes = num_blocks * kSlotBytes},
                                std::make_shared<UnwrittenFiles>()));
  const std::string encoding = identity.Encode();
  const BlockKey root = cachestore::RootKey(tier->secret(), encoding);
  RETURN_IF_ERROR(tier->BindNamespace(root, encoding));
  const auto page = std::make_unique<AlignedPage>();
  Progress progress("storing records", num_blocks);
  BlockKey parent = root;
  for (int64_t stored = 0; stored < num_blocks;) {
    std::vector<BlockToStore> batch;
    for (; stored < num_blocks && std::ssize(batch) < kBatchBlocks; ++stored) {
      if (stored % kChainBlocks == 0) parent = root;
      TokenId tokens[kBlockTokens];
      FillBlockTokens(stored / kChainBlocks, stored % kChainBlocks, tokens);
      const BlockKey key = cachestore::ChildKey(parent, tokens);
      batch.push_back({.block = {.key = key,
                                 .parent = parent,
                                 .root = root,
                                 .tokens = {std::begin(tokens), std::end(tokens)},
                                 .payload_bytes = kBlockBytes},
                       .payload = page->bytes});
      parent = key;
    }
    RETURN_IF_ERROR(tier->Store(batch));
    progress.Update(stored, "blocks");
  }
  return absl::OkStatus();
}

// Drops the files in `directory` from the kernel's cache, which needs no rights.
void DropFromCache(const std::string& directory) {
  for (const auto& entry : std::filesystem::directory_iterator(directory)) {
    const int fd = open(entry.path().c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) continue;
    (void)fdatasync(fd);
    (void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    close(fd);
  }
}

int64_t BytesIn(const std::string& directory) {
  int64_t bytes = 0;
  for (const auto& entry : std::filesystem::directory_iterator(directory)) {
    if (entry.is_regular_file()) bytes += static_cast<int64_t>(entry.file_size());
  }
  return bytes;
}

}  // namespace

absl::StatusOr<std::vector<Result>> MeasureRecovery(Extent extent, const std::string& directory) {
  const int64_t num_blocks = ByExtent<int64_t>(extent, 10'000, 2'000'000);
  ASSIGN_OR_RETURN(const TempFolder folder, TempFolder::Make("reprise-bench-recovery", directory));
  const std::string store_directory = folder.path() + "/store";
  const std::string index_directory = store_directory + "/index";
  RETURN_IF_ERROR(StoreRecords(store_directory, num_blocks));
  cachestore::StoreOptions options;
  options.ram.capacity_bytes = 64 * kBlockBytes;
  options.disk.directory = store_directory;
  options.disk.capacity_bytes = num_blocks * kSlotBytes;
  const auto open_seconds = [&]() -> absl::StatusOr<double> {
    absl::StatusOr<std::unique_ptr<TieredStore>> store = absl::UnknownError("");
    const double seconds = SecondsOf([&] { store = TieredStore::Open(options); });
    RETURN_IF_ERROR(store.status());
    const int64_t recovered = (*store)->stats().recovered_blocks;
    if (recovered == num_blocks) return seconds;
    return absl::DataLossError(
        absl::StrCat(recovered, " of ", num_blocks, " blocks were recovered"));
  };
  const Arm arms[] = {{"index not cached",
                       [&] {
                         DropFromCache(index_directory);
                         return open_seconds();
                       }},
                      {"index cached", open_seconds}};
  ASSIGN_OR_RETURN(const std::vector<double> seconds,
                   MedianOfRounds("disk.recovery", ByExtent(extent, 1, 5), arms));
  std::vector<Result> rows;
  for (const auto& [metric, i] : {std::pair<std::string, int>{"disk.recovery_blocks_per_s", 0},
                                  {"disk.recovery_blocks_per_s_cached", 1}}) {
    Result row{
        .metric = metric, .unit = "blocks/s", .ours = static_cast<double>(num_blocks) / seconds[i]};
    row.goal = Goal{Goal::Of::kOurs, Goal::Bound::kAtLeast, 1e6};
    row.context = {{"blocks", absl::StrCat(num_blocks)},
                   {"index_bytes", absl::StrCat(BytesIn(index_directory))},
                   {"figure", "TieredStore::Open until every block can be matched"},
                   {"file_system", FileSystemInWords(directory)}};
    rows.push_back(std::move(row));
  }
  return rows;
}

}  // namespace reprise::bench
