#include "cachestore/tier/slot_recovery.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "cachestore/base/status_macros.h"

namespace reprise::cachestore {
namespace {

// Erased at once, so that a batch stays small beside RocksDB's memtable.
constexpr size_t kEraseBatchKeys = 4096;

// A payload file while the index is read.
struct FileInUse {
  FoundSlotFile found;
  uint64_t first_sequence = 0;  // of the block in it that was stored first
};

class Recovery {
 public:
  Recovery(BlockCatalog& catalog, BlockFileSystem& files, const std::string& directory,
           int64_t capacity_bytes)
      : catalog_(catalog), files_(files), directory_(directory), capacity_bytes_(capacity_bytes) {}

  absl::StatusOr<RecoveredSlots> Run() {
    RETURN_IF_ERROR(ListFiles());
    ASSIGN_OR_RETURN(CollectedRecords collected, CollectRecords(catalog_, kMaxRecordBytes));
    if (collected.records != nullptr) {
      collected.records->ForEach([this](const BlockKey& key, const BlockRecord& record,
                                        absl::string_view) { Claim(key, record); });
    } else {
      RETURN_IF_ERROR(
          catalog_.Scan(KeyRange(), [this](const BlockKey& key, absl::string_view encoded) {
            const absl::StatusOr<BlockRecord> record = DecodeBlockRecord(encoded);
            if (record.ok()) Claim(key, *record);
          }));
    }
    lost_keys_.insert(lost_keys_.end(), collected.unreadable.begin(), collected.unreadable.end());
    ChooseFilesToDrop();
    RETURN_IF_ERROR(CollectOwnersOfLostSlots());
    RETURN_IF_ERROR(EraseLostKeys());
    // Only if all of them are still what is stored.
    if (lost_keys_.size() == collected.unreadable.size()) {
      result_.records = std::move(collected.records);
    }
    for (const auto& [id, bytes] : listed_) {
      if (in_use_.contains(id)) continue;
      RETURN_IF_ERROR(files_.Remove(absl::StrCat(directory_, "/", SlotFileName(id))));
    }
    for (auto& [id, file] : in_use_) result_.files.emplace(id, std::move(file.found));
    return std::move(result_);
  }

 private:
  absl::Status ListFiles() {
    ASSIGN_OR_RETURN(const std::vector<BlockFileSystem::Entry> entries, files_.List(directory_));
    for (const BlockFileSystem::Entry& entry : entries) {
      const uint32_t id = SlotFileId(entry.name);
      if (id == 0) continue;
      listed_.emplace(id, entry.bytes);
    }
    return absl::OkStatus();
  }

  // Marks the slot of one record as used, or the record as lost.
  void Claim(const BlockKey& key, const BlockRecord& record) {
    const SlotAddress address = record.address;
    result_.last_file_id = std::max(result_.last_file_id, address.file_id);
    result_.next_sequence = std::max(result_.next_sequence, record.sequence + 1);
    const auto listed = listed_.find(address.file_id);
    if (listed == listed_.end()) {
      lost_keys_.push_back(key);
      return;
    }
    const uint64_t slot_bytes = SlotBytes(record.payload_bytes);
    const auto num_slots = static_cast<uint32_t>(listed->second / slot_bytes);
    if (address.slot >= num_slots) {
      lost_keys_.push_back(key);
      return;
    }
    const auto [it, is_new] =
        in_use_.try_emplace(address.file_id, FileInUse{.found = {.file_bytes = listed->second,
                                                                 .slot_bytes = slot_bytes,
                                                                 .slots = SlotBitmap(num_slots)},
                                                       .first_sequence = record.sequence});
    FileInUse& file = it->second;
    if (file.found.slot_bytes != slot_bytes) {
      lost_keys_.push_back(key);
      return;
    }
    if (file.found.slots.used(address.slot)) {
      lost_keys_.push_back(key);
      contested_.insert(address);
      return;
    }
    file.found.slots.Use(address.slot);
    file.first_sequence = std::min(file.first_sequence, record.sequence);
    ++result_.num_blocks;
    result_.used_bytes += static_cast<int64_t>(slot_bytes);
  }

  // Takes files out of use until the rest keeps to the budget.
  void ChooseFilesToDrop() {
    int64_t total_bytes = 0;
    std::vector<std::pair<uint64_t, uint32_t>> by_age;  // (first sequence, file id)
    for (const auto& [id, file] : in_use_) {
      total_bytes += static_cast<int64_t>(file.found.file_bytes);
      by_age.emplace_back(file.first_sequence, id);
    }
    std::sort(by_age.begin(), by_age.end());
    while (total_bytes > capacity_bytes_) {
      const auto it = in_use_.find(by_age.back().second);
      by_age.pop_back();
      total_bytes -= static_cast<int64_t>(it->second.found.file_bytes);
      const SlotBitmap& slots = it->second.found.slots;
      const int64_t num_used = int64_t{slots.num_slots()} - slots.num_free();
      result_.num_blocks -= num_used;
      result_.used_bytes -= num_used * static_cast<int64_t>(it->second.found.slot_bytes);
      in_use_.erase(it);
      dropped_files_ = true;
    }
  }

  // Adds the records that own a contested slot, or a slot of a dropped file, to the lost keys. Both
  // are rare, so the index is read a second time instead of remembering every owner.
  absl::Status CollectOwnersOfLostSlots() {
    const absl::flat_hash_set<BlockKey> already(lost_keys_.begin(), lost_keys_.end());
    if (contested_.empty() && !dropped_files_) return absl::OkStatus();
    return catalog_.Scan(KeyRange(), [&](const BlockKey& key, absl::string_view encoded) {
      const absl::StatusOr<BlockRecord> record = DecodeBlockRecord(encoded);
      if (!record.ok() || already.contains(key)) return;
      const auto file = in_use_.find(record->address.file_id);
      if (file == in_use_.end()) {
        lost_keys_.push_back(key);
      } else if (contested_.contains(record->address)) {
        lost_keys_.push_back(key);
        file->second.found.slots.Free(record->address.slot);
        --result_.num_blocks;
        result_.used_bytes -= static_cast<int64_t>(file->second.found.slot_bytes);
      }
    });
  }

  absl::Status EraseLostKeys() {
    const absl::Span<const BlockKey> lost = lost_keys_;
    for (size_t i = 0; i < lost.size(); i += kEraseBatchKeys) {
      RETURN_IF_ERROR(catalog_.Erase(lost.subspan(i, kEraseBatchKeys)));
    }
    return absl::OkStatus();
  }

  BlockCatalog& catalog_;
  BlockFileSystem& files_;
  const std::string& directory_;
  const int64_t capacity_bytes_;
  std::map<uint32_t, uint64_t> listed_;  // file id -> bytes, of the payload files on disk
  std::map<uint32_t, FileInUse> in_use_;
  bool dropped_files_ = false;
  std::vector<BlockKey> lost_keys_;
  absl::flat_hash_set<SlotAddress> contested_;
  RecoveredSlots result_;
};

}  // namespace

absl::StatusOr<RecoveredSlots> RecoverSlots(BlockCatalog& catalog, BlockFileSystem& files,
                                            const std::string& directory, int64_t capacity_bytes) {
  return Recovery(catalog, files, directory, capacity_bytes).Run();
}

}  // namespace reprise::cachestore
