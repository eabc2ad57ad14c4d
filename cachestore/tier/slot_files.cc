#include "cachestore/tier/slot_files.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "cachestore/base/check.h"
#include "cachestore/base/status_macros.h"
#include "cachestore/tier/slot_header.h"

namespace reprise::cachestore {
namespace {

// A file is large enough that creating one is rare, and small enough that several slot sizes can
// share a budget. A large budget has larger files, because each one is an open file descriptor.
// Creating one takes about 6 ms, whatever its size.
constexpr uint64_t kUsualSegmentBytes = uint64_t{256} << 20;
constexpr uint64_t kMinSegmentsPerBudget = 8;
constexpr uint64_t kMaxSegmentsPerBudget = 512;

// How long a full file system is believed to stay full.
constexpr absl::Duration kFullPatience = absl::Seconds(30);

}  // namespace

uint64_t SlotBytes(uint64_t payload_bytes) { return kSlotHeaderBytes + AlignUp(payload_bytes); }

std::string SlotFileName(uint32_t file_id) { return absl::StrFormat("slots-%06d.dat", file_id); }

uint32_t SlotFileId(absl::string_view name) {
  absl::string_view digits = name;
  uint32_t id = 0;
  if (!absl::ConsumePrefix(&digits, "slots-") || !absl::ConsumeSuffix(&digits, ".dat")) return 0;
  if (!absl::SimpleAtoi(digits, &id) || SlotFileName(id) != name) return 0;
  return id;
}

SlotFiles::SlotFiles(std::string directory, int64_t capacity_bytes,
                     std::shared_ptr<BlockFileSystem> files, std::function<absl::Time()> now)
    : directory_(std::move(directory)),
      capacity_bytes_(capacity_bytes),
      file_system_(std::move(files)),
      now_(std::move(now)) {}

std::string SlotFiles::Path(uint32_t file_id) const {
  return absl::StrCat(directory_, "/", SlotFileName(file_id));
}

absl::Status SlotFiles::Adopt(std::map<uint32_t, FoundSlotFile> found, uint32_t last_file_id) {
  std::map<uint32_t, File> opened;
  int64_t total_bytes = 0;
  for (auto& [id, file] : found) {
    ASSIGN_OR_RETURN(std::shared_ptr<BlockFile> io, file_system_->Open(Path(id)));
    total_bytes += static_cast<int64_t>(file.file_bytes);
    opened.emplace(id, File{.file = std::move(io),
                            .file_bytes = file.file_bytes,
                            .slot_bytes = file.slot_bytes,
                            .slots = std::move(file.slots)});
  }
  CHECK(total_bytes <= capacity_bytes_);
  absl::MutexLock lock(&mu_);
  files_ = std::move(opened);
  file_bytes_ = total_bytes;
  last_file_id_ = last_file_id;
  return absl::OkStatus();
}

absl::StatusOr<std::vector<SlotAddress>> SlotFiles::Reserve(uint64_t slot_bytes, size_t count) {
  std::vector<SlotAddress> taken;
  taken.reserve(count);
  while (!TakeFromFiles(slot_bytes, count, &taken)) {
    absl::MutexLock grow_lock(&grow_mu_);
    const int64_t free_slots = FreeSlots(slot_bytes);
    if (free_slots < static_cast<int64_t>(count)) {
      return absl::ResourceExhaustedError(absl::StrCat(
          "disk tier ", directory_, ": ", count, " slots of ", slot_bytes, " bytes wanted, ",
          free_slots, " free in a budget of ", capacity_bytes_, " bytes"));
    }
    {
      // Another thread may have grown while this one waited.
      absl::MutexLock lock(&mu_);
      if (FreeInFilesLocked(slot_bytes) >= static_cast<int64_t>(count)) continue;
    }
    RETURN_IF_ERROR(Grow(slot_bytes));
  }
  return taken;
}

bool SlotFiles::TakeFromFiles(uint64_t slot_bytes, size_t count, std::vector<SlotAddress>* taken) {
  absl::MutexLock lock(&mu_);
  if (FreeInFilesLocked(slot_bytes) < static_cast<int64_t>(count)) return false;
  while (taken->size() < count) {
    // The emptiest file has the longest runs; blocks of one prefix then lie side by side.
    std::pair<const uint32_t, File>* emptiest = nullptr;
    for (auto& entry : files_) {
      if (entry.second.slot_bytes != slot_bytes || entry.second.slots.num_free() == 0) continue;
      if (emptiest == nullptr ||
          entry.second.slots.num_free() > emptiest->second.slots.num_free()) {
        emptiest = &entry;
      }
    }
    CHECK(emptiest != nullptr);
    const SlotRun run =
        emptiest->second.slots.TakeRun(static_cast<uint32_t>(count - taken->size()));
    for (uint32_t i = 0; i < run.count; ++i) {
      taken->push_back({.file_id = emptiest->first, .slot = run.first + i});
    }
  }
  return true;
}

absl::Status SlotFiles::Grow(uint64_t slot_bytes) {
  const uint64_t segment_bytes = SegmentBytes(slot_bytes);
  RETURN_IF_ERROR(MakeRoom(slot_bytes, segment_bytes));
  uint32_t id = 0;
  uint64_t file_bytes = 0;
  {
    absl::MutexLock lock(&mu_);
    const uint64_t unused = UnusedLocked();
    file_bytes = std::min(segment_bytes, unused) / slot_bytes * slot_bytes;
    if (file_bytes == 0) {
      return absl::ResourceExhaustedError(
          absl::StrCat("disk tier ", directory_, ": ", unused, " bytes left of a budget of ",
                       capacity_bytes_, " bytes, a slot takes ", slot_bytes));
    }
    id = ++last_file_id_;
    file_bytes_ += static_cast<int64_t>(file_bytes);
  }
  absl::StatusOr<std::unique_ptr<BlockFile>> created = file_system_->Create(Path(id), file_bytes);
  absl::MutexLock lock(&mu_);
  if (!created.ok()) {
    file_bytes_ -= static_cast<int64_t>(file_bytes);
    if (absl::IsResourceExhausted(created.status())) {
      room_bytes_ = file_bytes_;
      full_until_ = now_() + kFullPatience;
    }
    return created.status();
  }
  files_.emplace(id, File{.file = *std::move(created),
                          .file_bytes = file_bytes,
                          .slot_bytes = slot_bytes,
                          .slots = SlotBitmap(static_cast<uint32_t>(file_bytes / slot_bytes))});
  return absl::OkStatus();
}

absl::Status SlotFiles::MakeRoom(uint64_t slot_bytes, uint64_t bytes) {
  for (;;) {
    std::map<uint32_t, File>::node_type victim;
    {
      absl::MutexLock lock(&mu_);
      if (UnusedLocked() >= bytes) return absl::OkStatus();
      const auto it = std::find_if(files_.begin(), files_.end(), [slot_bytes](const auto& entry) {
        return entry.second.slot_bytes != slot_bytes && entry.second.empty();
      });
      if (it == files_.end()) return absl::OkStatus();
      victim = files_.extract(it);
    }
    const absl::Status removed = file_system_->Remove(Path(victim.key()));
    absl::MutexLock lock(&mu_);
    if (!removed.ok()) {
      files_.insert(std::move(victim));
      return removed;
    }
    file_bytes_ -= static_cast<int64_t>(victim.mapped().file_bytes);
  }
}

void SlotFiles::Release(absl::Span<const SlotAddress> addresses) {
  absl::MutexLock lock(&mu_);
  for (const SlotAddress& address : addresses) {
    const auto it = files_.find(address.file_id);
    CHECK(it != files_.end());
    it->second.slots.Free(address.slot);
  }
}

absl::StatusOr<SlotFiles::Location> SlotFiles::Locate(const SlotAddress& address,
                                                      uint64_t slot_bytes) const {
  absl::MutexLock lock(&mu_);
  const auto it = files_.find(address.file_id);
  if (it == files_.end() || it->second.slot_bytes != slot_bytes ||
      address.slot >= it->second.slots.num_slots()) {
    return absl::DataLossError(absl::StrCat("there is no slot ", address.slot, " of ", slot_bytes,
                                            " bytes in ", Path(address.file_id)));
  }
  return Location{.file = it->second.file, .offset = address.slot * slot_bytes};
}

int64_t SlotFiles::FreeInFilesLocked(uint64_t slot_bytes) const {
  int64_t free_slots = 0;
  for (const auto& [id, file] : files_) {
    if (file.slot_bytes == slot_bytes) free_slots += file.slots.num_free();
  }
  return free_slots;
}

int64_t SlotFiles::FreeSlots(uint64_t slot_bytes) const {
  absl::MutexLock lock(&mu_);
  uint64_t unused = UnusedLocked();
  for (const auto& [id, file] : files_) {
    if (file.slot_bytes != slot_bytes && file.empty()) unused += file.file_bytes;
  }
  return FreeInFilesLocked(slot_bytes) + static_cast<int64_t>(unused / slot_bytes);
}

uint64_t SlotFiles::UnusedLocked() const {
  const int64_t room =
      now_() < full_until_ ? std::min(room_bytes_, capacity_bytes_) : capacity_bytes_;
  return static_cast<uint64_t>(std::max<int64_t>(0, room - file_bytes_));
}

int64_t SlotFiles::file_bytes() const {
  absl::MutexLock lock(&mu_);
  return file_bytes_;
}

int64_t SlotFiles::CapacitySlots(uint64_t slot_bytes) const {
  return static_cast<int64_t>(capacity_bytes_ / slot_bytes);
}

uint64_t SlotFiles::SegmentBytes(uint64_t slot_bytes) const {
  const uint64_t capacity = static_cast<uint64_t>(capacity_bytes_);
  const uint64_t usual = std::min(kUsualSegmentBytes, capacity / kMinSegmentsPerBudget);
  const uint64_t wanted = std::max(usual, capacity / kMaxSegmentsPerBudget);
  return std::max(slot_bytes, wanted / slot_bytes * slot_bytes);
}

}  // namespace reprise::cachestore
