#include "cachestore/tier/disk_tier.h"

#include <algorithm>
#include <atomic>
#include <optional>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "cachestore/base/check.h"
#include "cachestore/base/status_macros.h"
#include "cachestore/tier/block_catalog.h"
#include "cachestore/tier/block_file.h"
#include "cachestore/tier/block_record.h"
#include "cachestore/tier/disk_directory.h"
#include "cachestore/tier/record_list.h"
#include "cachestore/tier/slot_files.h"
#include "cachestore/tier/slot_header.h"
#include "cachestore/tier/slot_piece_reader.h"
#include "cachestore/tier/slot_reader.h"
#include "cachestore/tier/slot_recovery.h"
#include "cachestore/tier/slot_writer.h"
#include "cachestore/tier/withdrawals.h"

namespace reprise::cachestore {
namespace {

// The smallest slot: a header and one unit of payload.
constexpr int64_t kMinCapacityBytes = kSlotHeaderBytes + kIoAlignment;

// On an idle machine 2 MiB reads reach the disk's rate with 4 in flight and 128 KiB reads with 32;
// twice as many keep the disk busy while the threads that handle completions wait for a core.
constexpr uint64_t kBestBytesInFlight = uint64_t{16} << 20;
constexpr int kMinLoadDepth = 8;
constexpr int kMaxLoadDepth = 64;

// Pieces of at least 64 KiB reach the disk's rate with so many; the other loads find the rest of
// its queue.
constexpr int kMaxPieceReads = 32;

bool IsAligned(const void* data) { return reinterpret_cast<uintptr_t>(data) % kIoAlignment == 0; }

// `status` of the block `key`, with where it lies.
absl::Status InBlock(const BlockKey& key, const SlotAddress& address, const absl::Status& status) {
  return absl::Status(status.code(),
                      absl::StrCat("block ", key.ToHex(), " in ", SlotFileName(address.file_id),
                                   " slot ", address.slot, ": ", status.message()));
}

class DiskTier final : public BackingTier {
 public:
  DiskTier(std::unique_ptr<DiskDirectory> directory, std::unique_ptr<BlockCatalog> catalog,
           std::shared_ptr<BlockFileSystem> files, std::unique_ptr<SlotFiles> slots,
           RecoveredSlots recovered, std::vector<std::string> losses)
      : losses_(std::move(losses)),
        directory_(std::move(directory)),
        catalog_(std::move(catalog)),
        files_(std::move(files)),
        slots_(std::move(slots)),
        next_sequence_(recovered.next_sequence),
        num_blocks_(recovered.num_blocks),
        used_bytes_(recovered.used_bytes),
        withdrawals_(*catalog_, *slots_,
                     [this](const Withdrawal& withdrawal) {
                       if (!withdrawal.counted) return;
                       num_blocks_.fetch_sub(1, std::memory_order_relaxed);
                       used_bytes_.fetch_sub(withdrawal.slot_bytes, std::memory_order_relaxed);
                     }),
        recovered_(std::move(recovered.records)),
        piece_reader_(*slots_, *files_, std::min(kMaxPieceReads, files_->max_in_flight())),
        reader_(*slots_, *files_) {}

  Hash128 secret() const override { return catalog_->secret(); }
  absl::Status BindNamespace(const BlockKey& root, absl::string_view identity_encoding) override {
    return catalog_->BindNamespace(root, identity_encoding);
  }
  absl::Status ForEachNamespace(
      absl::FunctionRef<void(const BlockKey&, absl::string_view)> visit) override {
    return catalog_->ForEachNamespace(visit);
  }

  int64_t FreeSlots(uint64_t payload_bytes) const override {
    return slots_->FreeSlots(SlotBytes(payload_bytes));
  }
  int64_t BudgetBytes(uint64_t payload_bytes) const override {
    return static_cast<int64_t>(SlotBytes(payload_bytes));
  }
  int64_t CapacitySlots(uint64_t payload_bytes) const override {
    return slots_->CapacitySlots(SlotBytes(payload_bytes));
  }

  absl::Status Store(absl::Span<const BlockToStore> batch) override;
  void StartLoads(std::vector<LoadRequest> batch) override;
  int load_depth(uint64_t payload_bytes) const override;
  absl::Status Erase(absl::Span<const BlockKey> keys) override;
  absl::StatusOr<std::vector<BlockKey>> KeysBeside(const BlockKey& key) override;
  absl::Status ForEach(absl::FunctionRef<void(const StoredBlock&)> visit) override;
  absl::Status ForEachKey(absl::FunctionRef<void(const BlockKey&)> visit) override;

  absl::Status SaveState(absl::string_view name, absl::string_view bytes) override {
    return catalog_->SaveState(name, bytes);
  }
  absl::StatusOr<std::string> LoadState(absl::string_view name) const override {
    return catalog_->LoadState(name);
  }

  int64_t used_bytes() const override { return used_bytes_.load(std::memory_order_relaxed); }
  int64_t reserved_bytes() const override { return slots_->file_bytes(); }
  std::vector<std::string> losses() const override { return losses_; }
  int64_t capacity_bytes() const override { return slots_->capacity_bytes(); }
  int64_t num_blocks() const override { return num_blocks_.load(std::memory_order_relaxed); }

 private:
  // Finds the records of the batch and starts to read its slots. BLOCKS on the index.
  void StartReads(std::vector<LoadRequest> batch);
  // The record of a block to load. kNotFound; kDataLoss: it is another block's.
  absl::StatusOr<BlockRecord> FindRecord(const StoredBlock& block) const;
  // Also takes away records under these keys that cannot be read.
  absl::Status CheckAbsent(absl::Span<const BlockToStore> batch);
  absl::StatusOr<std::vector<SlotAddress>> ReserveSlots(absl::Span<const BlockToStore> batch);
  // What erasing `key` means; nullopt when it is absent.
  std::optional<Withdrawal> WithdrawalOf(const BlockKey& key) const;
  // What recovery has read, once, as long as it is still what is stored; else null.
  std::unique_ptr<RecordList> TakeRecovered() ABSL_LOCKS_EXCLUDED(recovered_mu_);

  const std::vector<std::string> losses_;
  const std::unique_ptr<DiskDirectory> directory_;  // the lock outlives what it protects
  const std::unique_ptr<BlockCatalog> catalog_;
  const std::shared_ptr<BlockFileSystem> files_;
  const std::unique_ptr<SlotFiles> slots_;

  // Counters: written by Store and Erase, read by anyone; nothing is inferred from one about
  // another.
  std::atomic<uint64_t> next_sequence_;
  std::atomic<int64_t> num_blocks_;
  std::atomic<int64_t> used_bytes_;

  // One Erase at a time: two of the same key must not free its slot twice.
  absl::Mutex erase_mu_;

  Withdrawals withdrawals_;

  absl::Mutex recovered_mu_;
  std::unique_ptr<RecordList> recovered_ ABSL_GUARDED_BY(recovered_mu_);

  // Last: their reads use everything above, and what is posted to reader_ starts those of the
  // other.
  SlotPieceReader piece_reader_;
  SlotReader reader_;
};

absl::Status DiskTier::Store(absl::Span<const BlockToStore> batch) {
  if (batch.empty()) return absl::OkStatus();
  TakeRecovered();
  RETURN_IF_ERROR(withdrawals_.Withdraw({}));  // a key of the batch may be among the earlier ones
  RETURN_IF_ERROR(CheckAbsent(batch));
  ASSIGN_OR_RETURN(const std::vector<SlotAddress> addresses, ReserveSlots(batch));
  const uint64_t first_sequence = next_sequence_.fetch_add(batch.size());
  std::vector<SlotWrite> writes;
  writes.reserve(batch.size());
  for (size_t i = 0; i < batch.size(); ++i) {
    const StoredBlock& block = batch[i].block;
    writes.push_back({.header = {.key = block.key,
                                 .parent = block.parent,
                                 .root = block.root,
                                 .payload_bytes = block.payload_bytes,
                                 .sequence = first_sequence + i},
                      .address = addresses[i],
                      .payload = batch[i].payload,
                      .expected_hash = batch[i].payload_hash});
  }
  absl::Status written = WriteSlots(*slots_, absl::MakeSpan(writes));
  if (!written.ok()) {
    slots_->Release(addresses);
    return written;
  }
  std::vector<BlockCatalog::Entry> entries;
  entries.reserve(batch.size());
  int64_t slot_bytes = 0;
  for (size_t i = 0; i < batch.size(); ++i) {
    const SlotHeader& header = writes[i].header;
    entries.push_back({.key = header.key,
                       .record = {.parent = header.parent,
                                  .root = header.root,
                                  .payload_bytes = header.payload_bytes,
                                  .payload_hash = header.payload_hash,
                                  .sequence = header.sequence,
                                  .address = addresses[i]},
                       .tokens = batch[i].block.tokens});
    slot_bytes += static_cast<int64_t>(SlotBytes(header.payload_bytes));
  }
  absl::Status published = catalog_->Put(entries);
  if (!published.ok()) {
    std::vector<Withdrawal> withdrawals;
    for (const BlockCatalog::Entry& entry : entries) {
      withdrawals.push_back({.key = entry.key, .slot = entry.record.address});
    }
    withdrawals_.Withdraw(std::move(withdrawals)).IgnoreError();  // the cause is `published`
    return published;
  }
  num_blocks_.fetch_add(static_cast<int64_t>(batch.size()), std::memory_order_relaxed);
  used_bytes_.fetch_add(slot_bytes, std::memory_order_relaxed);
  return absl::OkStatus();
}

absl::Status DiskTier::CheckAbsent(absl::Span<const BlockToStore> batch) {
  absl::flat_hash_set<BlockKey> keys;
  for (const BlockToStore& item : batch) {
    CHECK(item.payload.size() == item.block.payload_bytes);
    CHECK(IsAligned(item.payload.data()));
    const std::optional<Withdrawal> present = WithdrawalOf(item.block.key);
    const bool unreadable = present.has_value() && !present->slot.has_value();
    if (unreadable) {
      // The caller stores no key that is present: if anything lies there, it was never counted.
      RETURN_IF_ERROR(withdrawals_.Withdraw({{.key = item.block.key}}));
    } else if (present.has_value() || !keys.insert(item.block.key).second) {
      return absl::AlreadyExistsError(
          absl::StrCat("block ", item.block.key.ToHex(), " is stored already"));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<SlotAddress>> DiskTier::ReserveSlots(
    absl::Span<const BlockToStore> batch) {
  std::vector<SlotAddress> addresses;
  addresses.reserve(batch.size());
  for (size_t begin = 0; begin < batch.size();) {
    const uint64_t slot_bytes = SlotBytes(batch[begin].block.payload_bytes);
    size_t end = begin + 1;
    while (end < batch.size() && SlotBytes(batch[end].block.payload_bytes) == slot_bytes) ++end;
    absl::StatusOr<std::vector<SlotAddress>> taken = slots_->Reserve(slot_bytes, end - begin);
    if (!taken.ok()) {
      slots_->Release(addresses);
      return taken.status();
    }
    addresses.insert(addresses.end(), taken->begin(), taken->end());
    begin = end;
  }
  return addresses;
}

std::optional<Withdrawal> DiskTier::WithdrawalOf(const BlockKey& key) const {
  const absl::StatusOr<std::optional<BlockRecord>> record = catalog_->Find(key);
  // Nothing can be read under this key, be it for its bytes or for the disk below them. Without it
  // at least something can be stored, and the other keys of a batch need not wait for it.
  if (!record.ok()) return Withdrawal{.key = key, .counted = true};
  if (!record->has_value()) return std::nullopt;
  return Withdrawal{.key = key,
                    .slot = (*record)->address,
                    .slot_bytes = static_cast<int64_t>(SlotBytes((*record)->payload_bytes)),
                    .counted = true};
}

int DiskTier::load_depth(uint64_t payload_bytes) const {
  const auto by_bytes = static_cast<int>(kBestBytesInFlight / SlotBytes(payload_bytes));
  return std::min(std::clamp(by_bytes, kMinLoadDepth, kMaxLoadDepth), files_->max_in_flight());
}

void DiskTier::StartLoads(std::vector<LoadRequest> batch) {
  for (const LoadRequest& request : batch) {
    CHECK(request.payload.size() == request.block.payload_bytes);
    CHECK(IsAligned(request.payload.data()));
  }
  // Behind a load that ends, posted work would wait for others that have ended as well, and the
  // disk for it.
  if (reader_.InDone()) return StartReads(std::move(batch));
  // The index may be on a disk that hangs; the caller must not.
  reader_.Post([this, batch = std::move(batch)]() mutable { StartReads(std::move(batch)); });
}

void DiskTier::StartReads(std::vector<LoadRequest> batch) {
  std::vector<SlotRead> reads;
  std::vector<SlotPieceRead> piece_reads;
  reads.reserve(batch.size());
  for (LoadRequest& request : batch) {
    absl::StatusOr<BlockRecord> record = FindRecord(request.block);
    if (!record.ok()) {
      reader_.Post([done = std::move(request.done), status = record.status()]() mutable {
        std::move(done)(status);
      });
      continue;
    }
    // Parent and root are the caller's, so that index and slot both have to agree with what is
    // asked.
    SlotRead read = {.expected = {.key = request.block.key,
                                  .parent = request.block.parent,
                                  .root = request.block.root,
                                  .payload_bytes = request.block.payload_bytes,
                                  .payload_hash = record->payload_hash,
                                  .sequence = record->sequence},
                     .address = record->address,
                     .payload = request.payload,
                     .done = {}};
    read.done = [key = request.block.key, address = record->address,
                 done = std::move(request.done)](const absl::Status& status) mutable {
      std::move(done)(status.ok() ? status : InBlock(key, address, status));
    };
    if (request.progress) {
      piece_reads.push_back({std::move(read), std::move(request.progress)});
    } else {
      reads.push_back(std::move(read));
    }
  }
  reader_.Start(std::move(reads));
  piece_reader_.Start(std::move(piece_reads));
}

absl::StatusOr<BlockRecord> DiskTier::FindRecord(const StoredBlock& block) const {
  ASSIGN_OR_RETURN(const std::optional<BlockRecord> record, catalog_->Find(block.key));
  if (!record.has_value()) {
    return absl::NotFoundError(absl::StrCat("block ", block.key.ToHex(), " is not on disk"));
  }
  if (record->payload_bytes != block.payload_bytes) {
    return InBlock(
        block.key, record->address,
        absl::DataLossError(absl::StrCat("index: payload length is ", record->payload_bytes,
                                         ", expected ", block.payload_bytes)));
  }
  return *record;
}

absl::Status DiskTier::Erase(absl::Span<const BlockKey> keys) {
  TakeRecovered();
  absl::MutexLock lock(&erase_mu_);
  RETURN_IF_ERROR(withdrawals_.Withdraw({}));  // keys of an earlier failure are gone then
  absl::flat_hash_set<BlockKey> seen;
  std::vector<Withdrawal> withdrawals;
  for (const BlockKey& key : keys) {
    if (!seen.insert(key).second) continue;
    const std::optional<Withdrawal> withdrawal = WithdrawalOf(key);
    if (withdrawal.has_value()) withdrawals.push_back(*withdrawal);
  }
  return withdrawals_.Withdraw(std::move(withdrawals));
}

absl::StatusOr<std::vector<BlockKey>> DiskTier::KeysBeside(const BlockKey& key) {
  ASSIGN_OR_RETURN(const std::optional<BlockRecord> record, catalog_->Find(key));
  if (!record.has_value()) {
    return absl::NotFoundError(absl::StrCat("block ", key.ToHex(), " is not on disk"));
  }
  // A file serves one slot size. It knows only slots: whose they are stands in the index.
  std::vector<BlockKey> beside;
  RETURN_IF_ERROR(catalog_->Scan(KeyRange(), [&](const BlockKey& other, absl::string_view encoded) {
    const absl::StatusOr<BlockRecord> decoded = DecodeBlockRecord(encoded);
    if (decoded.ok() && decoded->address.file_id == record->address.file_id) {
      beside.push_back(other);
    }
  }));
  return beside;
}

absl::Status DiskTier::ForEach(absl::FunctionRef<void(const StoredBlock&)> visit) {
  StoredBlock block;
  const auto visit_record = [&](const BlockKey& key, const BlockRecord& record,
                                absl::string_view encoded) {
    block.key = key;
    block.parent = record.parent;
    block.root = record.root;
    DecodeRecordTokens(encoded, &block.tokens);
    block.payload_bytes = record.payload_bytes;
    block.payload_hash = record.payload_hash;
    block.sequence = record.sequence;
    visit(block);
  };
  if (const std::unique_ptr<RecordList> recovered = TakeRecovered()) {
    recovered->SortBySequence();
    recovered->ForEach(visit_record);
    return absl::OkStatus();
  }
  return VisitInOrder(*catalog_, kMaxRecordBytes, visit_record);
}

absl::Status DiskTier::ForEachKey(absl::FunctionRef<void(const BlockKey&)> visit) {
  return catalog_->Scan(KeyRange(), [&](const BlockKey& key, absl::string_view) { visit(key); });
}

std::unique_ptr<RecordList> DiskTier::TakeRecovered() {
  absl::MutexLock lock(&recovered_mu_);
  return std::move(recovered_);
}

absl::Status CheckCapacity(const DiskTierOptions& options, const DiskDirectory& directory) {
  ASSIGN_OR_RETURN(const int64_t file_system_bytes, directory.FileSystemBytes());
  if (options.capacity_bytes <= file_system_bytes) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      absl::StrCat("disk tier ", options.directory, ": a budget of ", options.capacity_bytes,
                   " bytes on a file system of ", file_system_bytes, " bytes"));
}

struct Index {
  std::unique_ptr<BlockCatalog> catalog;
  RecoveredSlots recovered;
};

// kDataLoss: the index cannot be read.
absl::StatusOr<Index> OpenIndex(const DiskDirectory& directory, BlockFileSystem& files,
                                int64_t capacity_bytes, rocksdb::Env* env) {
  Index index;
  ASSIGN_OR_RETURN(index.catalog, BlockCatalog::Open(directory.index_path(), env, capacity_bytes));
  ASSIGN_OR_RETURN(index.recovered,
                   RecoverSlots(*index.catalog, files, directory.path(), capacity_bytes));
  return index;
}

}  // namespace

absl::StatusOr<std::unique_ptr<BackingTier>> OpenDiskTier(const DiskTierOptions& options) {
  return OpenDiskTier(options, MakePosixBlockFileSystem());
}

absl::StatusOr<std::unique_ptr<BackingTier>> OpenDiskTier(const DiskTierOptions& options,
                                                          std::shared_ptr<BlockFileSystem> files,
                                                          rocksdb::Env* index_env) {
  if (options.directory.empty()) {
    return absl::InvalidArgumentError("disk tier: directory is empty");
  }
  if (options.capacity_bytes < kMinCapacityBytes) {
    return absl::InvalidArgumentError(absl::StrCat("disk tier: capacity_bytes is ",
                                                   options.capacity_bytes, ", at least ",
                                                   kMinCapacityBytes, " are needed"));
  }
  ASSIGN_OR_RETURN(std::unique_ptr<DiskDirectory> directory,
                   DiskDirectory::Open(options.directory));
  RETURN_IF_ERROR(CheckCapacity(options, *directory));
  std::vector<std::string> losses;
  absl::StatusOr<Index> index = OpenIndex(*directory, *files, options.capacity_bytes, index_env);
  if (absl::IsDataLoss(index.status())) {
    // A cache starts cold rather than not at all. Payload files that no record names are removed.
    const std::string reason(index.status().message());
    ASSIGN_OR_RETURN(const std::string aside, directory->SetIndexAside(reason));
    losses.push_back(absl::StrCat("disk tier ", options.directory, ": index set aside as ", aside,
                                  ": ", reason));
    index = OpenIndex(*directory, *files, options.capacity_bytes, index_env);
  }
  RETURN_IF_ERROR(index.status());
  auto slots = std::make_unique<SlotFiles>(directory->path(), options.capacity_bytes, files);
  RETURN_IF_ERROR(slots->Adopt(std::move(index->recovered.files), index->recovered.last_file_id));
  return std::make_unique<DiskTier>(std::move(directory), std::move(index->catalog),
                                    std::move(files), std::move(slots), std::move(index->recovered),
                                    std::move(losses));
}

}  // namespace reprise::cachestore
