#include "cachestore/tier/disk_tier.h"

#include <algorithm>
#include <atomic>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "cachestore/base/check.h"
#include "cachestore/base/status_macros.h"
#include "cachestore/tier/aligned_bytes.h"
#include "cachestore/tier/block_catalog.h"
#include "cachestore/tier/block_file.h"
#include "cachestore/tier/block_record.h"
#include "cachestore/tier/disk_directory.h"
#include "cachestore/tier/io_threads.h"
#include "cachestore/tier/slot_files.h"
#include "cachestore/tier/slot_header.h"
#include "cachestore/tier/slot_recovery.h"

namespace reprise::cachestore {
namespace {

// The smallest slot: a header and one unit of payload.
constexpr int64_t kMinCapacityBytes = kSlotHeaderBytes + kIoAlignment;

constexpr int kNumLoadThreads = 4;

bool IsAligned(const void* data) { return reinterpret_cast<uintptr_t>(data) % kIoAlignment == 0; }

class DiskTier final : public BackingTier {
 public:
  DiskTier(std::unique_ptr<DiskDirectory> directory, std::unique_ptr<BlockCatalog> catalog,
           std::unique_ptr<SlotFiles> slots, const RecoveredSlots& recovered)
      : directory_(std::move(directory)),
        catalog_(std::move(catalog)),
        slots_(std::move(slots)),
        next_sequence_(recovered.next_sequence),
        num_blocks_(recovered.num_blocks),
        used_bytes_(recovered.used_bytes),
        load_threads_(kNumLoadThreads) {}

  Hash128 secret() const override { return catalog_->secret(); }
  absl::Status BindNamespace(const BlockKey& root, absl::string_view identity_encoding) override {
    return catalog_->BindNamespace(root, identity_encoding);
  }

  int64_t FreeSlots(uint64_t payload_bytes) const override {
    return slots_->FreeSlots(SlotBytes(payload_bytes));
  }
  int64_t CapacitySlots(uint64_t payload_bytes) const override {
    return slots_->CapacitySlots(SlotBytes(payload_bytes));
  }

  absl::Status Store(absl::Span<const BlockToStore> batch) override;
  void StartLoads(std::vector<LoadRequest> batch) override;
  int load_depth(uint64_t) const override { return kNumLoadThreads; }
  absl::Status Erase(absl::Span<const BlockKey> keys) override;
  absl::Status ForEach(absl::FunctionRef<void(StoredBlock)> visit) override;

  int64_t used_bytes() const override { return used_bytes_.load(std::memory_order_relaxed); }
  int64_t capacity_bytes() const override { return slots_->capacity_bytes(); }
  int64_t num_blocks() const override { return num_blocks_.load(std::memory_order_relaxed); }

 private:
  absl::Status Load(const StoredBlock& block, absl::Span<std::byte> payload);
  absl::Status CheckAbsent(absl::Span<const BlockToStore> batch) const;
  absl::StatusOr<std::vector<SlotAddress>> ReserveSlots(absl::Span<const BlockToStore> batch);
  // Writes header and payload of every block and makes them durable; not visible yet.
  absl::Status WritePayloads(absl::Span<const BlockToStore> batch,
                             absl::Span<const BlockCatalog::Entry> entries);
  // Makes sure that the index does not name `entries` after a failed Put, then frees their slots;
  // where even that fails, the slots stay reserved until it succeeds.
  void Withdraw(absl::Span<const BlockCatalog::Entry> entries) ABSL_LOCKS_EXCLUDED(withdrawn_mu_);
  absl::Status RetryWithdrawn() ABSL_LOCKS_EXCLUDED(withdrawn_mu_);

  const std::unique_ptr<DiskDirectory> directory_;  // the lock outlives what it protects
  const std::unique_ptr<BlockCatalog> catalog_;
  const std::unique_ptr<SlotFiles> slots_;

  // Counters: written by Store and Erase, read by anyone; nothing is inferred from one about
  // another.
  std::atomic<uint64_t> next_sequence_;
  std::atomic<int64_t> num_blocks_;
  std::atomic<int64_t> used_bytes_;

  // One Erase at a time: two of the same key must not free its slot twice.
  absl::Mutex erase_mu_;

  // Keys that a failed write may have left in the index, and the slots they may name.
  absl::Mutex withdrawn_mu_;
  std::vector<BlockKey> withdrawn_keys_ ABSL_GUARDED_BY(withdrawn_mu_);
  std::vector<SlotAddress> withdrawn_slots_ ABSL_GUARDED_BY(withdrawn_mu_);

  IoThreads load_threads_;  // last: its work uses everything above
};

absl::Status DiskTier::Store(absl::Span<const BlockToStore> batch) {
  if (batch.empty()) return absl::OkStatus();
  // First, since a key of the batch may be among them.
  RETURN_IF_ERROR(RetryWithdrawn());
  RETURN_IF_ERROR(CheckAbsent(batch));
  ASSIGN_OR_RETURN(const std::vector<SlotAddress> addresses, ReserveSlots(batch));
  const uint64_t first_sequence = next_sequence_.fetch_add(batch.size());
  std::vector<BlockCatalog::Entry> entries;
  entries.reserve(batch.size());
  int64_t slot_bytes = 0;
  for (size_t i = 0; i < batch.size(); ++i) {
    const StoredBlock& block = batch[i].block;
    entries.push_back({.key = block.key,
                       .record = {.parent = block.parent,
                                  .root = block.root,
                                  .payload_bytes = block.payload_bytes,
                                  .payload_hash = HashBytes64(batch[i].payload),
                                  .sequence = first_sequence + i,
                                  .address = addresses[i]},
                       .tokens = block.tokens});
    slot_bytes += static_cast<int64_t>(SlotBytes(block.payload_bytes));
  }
  absl::Status written = WritePayloads(batch, entries);
  if (!written.ok()) {
    slots_->Release(addresses);
    return written;
  }
  absl::Status published = catalog_->Put(entries);
  if (!published.ok()) {
    Withdraw(entries);
    return published;
  }
  num_blocks_.fetch_add(static_cast<int64_t>(batch.size()), std::memory_order_relaxed);
  used_bytes_.fetch_add(slot_bytes, std::memory_order_relaxed);
  return absl::OkStatus();
}

absl::Status DiskTier::CheckAbsent(absl::Span<const BlockToStore> batch) const {
  absl::flat_hash_set<BlockKey> keys;
  for (const BlockToStore& item : batch) {
    CHECK(item.payload.size() == item.block.payload_bytes);
    CHECK(IsAligned(item.payload.data()));
    ASSIGN_OR_RETURN(const std::optional<BlockRecord> present, catalog_->Find(item.block.key));
    if (present.has_value() || !keys.insert(item.block.key).second) {
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

absl::Status DiskTier::WritePayloads(absl::Span<const BlockToStore> batch,
                                     absl::Span<const BlockCatalog::Entry> entries) {
  AlignedBytes headers(batch.size() * kSlotHeaderBytes);
  std::set<std::shared_ptr<BlockFile>> touched;
  for (size_t begin = 0; begin < batch.size();) {
    const SlotAddress first = entries[begin].record.address;
    const uint64_t slot_bytes = SlotBytes(batch[begin].block.payload_bytes);
    std::vector<absl::Span<const std::byte>> pieces;
    size_t i = begin;
    // One write for every run of consecutive slots.
    for (; i < batch.size(); ++i) {
      const BlockRecord& record = entries[i].record;
      if (record.address.file_id != first.file_id ||
          record.address.slot != first.slot + (i - begin)) {
        break;
      }
      const absl::Span<std::byte> header =
          headers.span().subspan(i * kSlotHeaderBytes, kSlotHeaderBytes);
      EncodeSlotHeader({.key = entries[i].key,
                        .parent = record.parent,
                        .root = record.root,
                        .payload_bytes = record.payload_bytes,
                        .payload_hash = record.payload_hash,
                        .sequence = record.sequence},
                       header);
      pieces.push_back(header);
      pieces.push_back({batch[i].payload.data(), AlignUp(batch[i].payload.size())});
    }
    ASSIGN_OR_RETURN(const SlotFiles::Location location, slots_->Locate(first, slot_bytes));
    RETURN_IF_ERROR(location.file->Write(location.offset, pieces));
    touched.insert(location.file);
    begin = i;
  }
  for (const std::shared_ptr<BlockFile>& file : touched) RETURN_IF_ERROR(file->Sync());
  return absl::OkStatus();
}

void DiskTier::Withdraw(absl::Span<const BlockCatalog::Entry> entries) {
  {
    absl::MutexLock lock(&withdrawn_mu_);
    for (const BlockCatalog::Entry& entry : entries) {
      withdrawn_keys_.push_back(entry.key);
      withdrawn_slots_.push_back(entry.record.address);
    }
  }
  RetryWithdrawn().IgnoreError();
}

absl::Status DiskTier::RetryWithdrawn() {
  absl::MutexLock lock(&withdrawn_mu_);
  if (withdrawn_keys_.empty()) return absl::OkStatus();
  RETURN_IF_ERROR(catalog_->Erase(withdrawn_keys_));
  slots_->Release(withdrawn_slots_);
  withdrawn_keys_.clear();
  withdrawn_slots_.clear();
  return absl::OkStatus();
}

void DiskTier::StartLoads(std::vector<LoadRequest> batch) {
  for (LoadRequest& request : batch) {
    load_threads_.Post([this, request = std::move(request)]() mutable {
      std::move(request.done)(Load(request.block, request.payload));
    });
  }
}

absl::Status DiskTier::Load(const StoredBlock& block, absl::Span<std::byte> payload) {
  CHECK(payload.size() == block.payload_bytes);
  CHECK(IsAligned(payload.data()));
  ASSIGN_OR_RETURN(const std::optional<BlockRecord> record, catalog_->Find(block.key));
  if (!record.has_value()) {
    return absl::NotFoundError(absl::StrCat("block ", block.key.ToHex(), " is not on disk"));
  }
  const auto in_block = [&](const absl::Status& status) {
    return absl::Status(status.code(), absl::StrCat("block ", block.key.ToHex(), " in ",
                                                    SlotFileName(record->address.file_id), " slot ",
                                                    record->address.slot, ": ", status.message()));
  };
  if (record->payload_bytes != block.payload_bytes) {
    return in_block(absl::DataLossError(absl::StrCat(
        "index: payload length is ", record->payload_bytes, ", expected ", block.payload_bytes)));
  }
  absl::StatusOr<SlotFiles::Location> location =
      slots_->Locate(record->address, SlotBytes(block.payload_bytes));
  if (!location.ok()) return in_block(location.status());
  AlignedBytes header(kSlotHeaderBytes);
  const absl::Span<std::byte> pieces[] = {header.span(), {payload.data(), AlignUp(payload.size())}};
  const absl::Status read = location->file->Read(location->offset, pieces);
  if (!read.ok()) return in_block(read);
  // Parent and root are the caller's, so that index and slot both have to agree with what is asked.
  const absl::Status agreed = CheckSlotHeader(header.span(), {.key = block.key,
                                                              .parent = block.parent,
                                                              .root = block.root,
                                                              .payload_bytes = block.payload_bytes,
                                                              .payload_hash = record->payload_hash,
                                                              .sequence = record->sequence});
  if (!agreed.ok()) return in_block(agreed);
  const uint64_t hash = HashBytes64(payload);
  if (hash != record->payload_hash) {
    return in_block(absl::DataLossError(absl::StrCat(
        "payload checksum is ", absl::Hex(hash), ", expected ", absl::Hex(record->payload_hash))));
  }
  return absl::OkStatus();
}

absl::Status DiskTier::Erase(absl::Span<const BlockKey> keys) {
  RETURN_IF_ERROR(RetryWithdrawn());
  absl::MutexLock lock(&erase_mu_);
  absl::flat_hash_set<BlockKey> seen;
  std::vector<BlockKey> present;
  std::vector<SlotAddress> addresses;
  int64_t slot_bytes = 0;
  for (const BlockKey& key : keys) {
    if (!seen.insert(key).second) continue;
    ASSIGN_OR_RETURN(const std::optional<BlockRecord> record, catalog_->Find(key));
    if (!record.has_value()) continue;
    present.push_back(key);
    addresses.push_back(record->address);
    slot_bytes += static_cast<int64_t>(SlotBytes(record->payload_bytes));
  }
  RETURN_IF_ERROR(catalog_->Erase(present));
  slots_->Release(addresses);
  num_blocks_.fetch_sub(static_cast<int64_t>(present.size()), std::memory_order_relaxed);
  used_bytes_.fetch_sub(slot_bytes, std::memory_order_relaxed);
  return absl::OkStatus();
}

absl::Status DiskTier::ForEach(absl::FunctionRef<void(StoredBlock)> visit) {
  // The index iterates in key order: its records are collected undecoded, and only their places are
  // sorted.
  struct Place {
    uint64_t sequence;
    BlockKey key;
    size_t offset;
    size_t size;
  };
  std::string encoded;
  std::vector<Place> places;
  absl::Status damaged;
  RETURN_IF_ERROR(catalog_->Scan([&](const BlockKey& key, absl::string_view record) {
    const absl::StatusOr<BlockRecord> decoded = DecodeBlockRecord(record);
    if (!decoded.ok()) {
      damaged.Update(decoded.status());
      return;
    }
    places.push_back({decoded->sequence, key, encoded.size(), record.size()});
    encoded.append(record.data(), record.size());
  }));
  RETURN_IF_ERROR(damaged);
  std::sort(places.begin(), places.end(),
            [](const Place& a, const Place& b) { return a.sequence < b.sequence; });
  for (const Place& place : places) {
    const absl::string_view bytes = absl::string_view(encoded).substr(place.offset, place.size);
    const BlockRecord record = *DecodeBlockRecord(bytes);
    visit({.key = place.key,
           .parent = record.parent,
           .root = record.root,
           .tokens = DecodeRecordTokens(bytes),
           .payload_bytes = record.payload_bytes,
           .sequence = record.sequence});
  }
  return absl::OkStatus();
}

absl::Status CheckCapacity(const DiskTierOptions& options, const DiskDirectory& directory) {
  ASSIGN_OR_RETURN(const int64_t file_system_bytes, directory.FileSystemBytes());
  if (options.capacity_bytes <= file_system_bytes) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      absl::StrCat("disk tier ", options.directory, ": a budget of ", options.capacity_bytes,
                   " bytes on a file system of ", file_system_bytes, " bytes"));
}

}  // namespace

absl::StatusOr<std::unique_ptr<BackingTier>> OpenDiskTier(const DiskTierOptions& options) {
  return OpenDiskTier(options, MakePosixBlockFileSystem());
}

absl::StatusOr<std::unique_ptr<BackingTier>> OpenDiskTier(const DiskTierOptions& options,
                                                          std::shared_ptr<BlockFileSystem> files) {
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
  ASSIGN_OR_RETURN(std::unique_ptr<BlockCatalog> catalog,
                   BlockCatalog::Open(directory->index_path()));
  ASSIGN_OR_RETURN(RecoveredSlots recovered,
                   RecoverSlots(*catalog, *files, directory->path(), options.capacity_bytes));
  auto slots =
      std::make_unique<SlotFiles>(directory->path(), options.capacity_bytes, std::move(files));
  RETURN_IF_ERROR(slots->Adopt(std::move(recovered.files), recovered.last_file_id));
  return std::make_unique<DiskTier>(std::move(directory), std::move(catalog), std::move(slots),
                                    recovered);
}

}  // namespace reprise::cachestore
