#include "cachestore/tier/record_list.h"

#include <algorithm>
#include <cstring>
#include <iterator>
#include <limits>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "cachestore/base/status_macros.h"

namespace reprise::cachestore {
namespace {

// Reading RocksDB takes more than half of the time, and keys spread evenly over their range.
constexpr int kScanThreads = 2;

// What a record takes beside its encoded bytes: its key, and its place in a list.
constexpr size_t kRecordOverheadBytes = 40;

// What one pass over the catalog looks for: records with min <= sequence < max.
struct Window {
  uint64_t min_sequence = 0;
  uint64_t max_sequence = std::numeric_limits<uint64_t>::max();
};

// One thread's part of a pass.
struct Part {
  absl::Status status;
  RecordList records;
  // The records took too much memory: only the sequences of all of them are there, and their size.
  bool overflowed = false;
  std::vector<uint64_t> sequences;
  size_t total_bytes = 0;
  std::vector<BlockKey> unreadable;
};

// Keeps nothing of the part's records but their sequences.
void Overflow(Part& part) {
  part.overflowed = true;
  part.records.ForEach([&](const BlockKey&, const BlockRecord& record, absl::string_view) {
    part.sequences.push_back(record.sequence);
  });
  part.records = RecordList();
}

void ReadPart(const BlockCatalog& catalog, const KeyRange& range, const Window& window,
              size_t max_bytes, Part& part) {
  part.status = catalog.Scan(range, [&](const BlockKey& key, absl::string_view encoded) {
    const absl::StatusOr<BlockRecord> record = DecodeBlockRecord(encoded);
    if (!record.ok()) {
      part.unreadable.push_back(key);
      return;
    }
    if (record->sequence < window.min_sequence || record->sequence >= window.max_sequence) return;
    part.total_bytes += kRecordOverheadBytes + encoded.size();
    if (!part.overflowed && part.total_bytes > max_bytes) Overflow(part);
    if (part.overflowed) {
      part.sequences.push_back(record->sequence);
    } else {
      part.records.Add(key, encoded, record->sequence);
    }
  });
}

// One pass over the catalog, by several threads.
absl::StatusOr<Part> ReadWindow(const BlockCatalog& catalog, const Window& window,
                                size_t max_bytes) {
  std::vector<Part> parts(kScanThreads);
  std::vector<std::thread> threads;
  for (int i = 0; i < kScanThreads; ++i) {
    threads.emplace_back([&, i] {
      ReadPart(catalog, KeyRange::Part(i, kScanThreads), window, max_bytes / kScanThreads,
               parts[i]);
    });
  }
  for (std::thread& thread : threads) thread.join();
  Part whole;
  for (Part& part : parts) {
    RETURN_IF_ERROR(part.status);
    whole.overflowed = whole.overflowed || part.overflowed;
    std::copy(part.unreadable.begin(), part.unreadable.end(), std::back_inserter(whole.unreadable));
  }
  for (Part& part : parts) {
    if (!whole.overflowed) {
      whole.records.Absorb(std::move(part.records));
      continue;
    }
    if (!part.overflowed) Overflow(part);
    std::copy(part.sequences.begin(), part.sequences.end(), std::back_inserter(whole.sequences));
    whole.total_bytes += part.total_bytes;
  }
  return whole;
}

}  // namespace

void RecordList::Add(const BlockKey& key, absl::string_view encoded, uint64_t sequence) {
  const size_t size = sizeof(key) + encoded.size();
  if (size > chunk_left_) {
    const size_t chunk = std::max(size, kChunkBytes);
    chunks_.push_back(std::make_unique_for_overwrite<char[]>(chunk));
    free_ = chunks_.back().get();
    chunk_left_ = chunk;
  }
  char* bytes = free_;
  std::memcpy(bytes, &key, sizeof(key));
  std::memcpy(bytes + sizeof(key), encoded.data(), encoded.size());
  free_ += size;
  chunk_left_ -= size;
  entries_.push_back({.sequence = sequence, .bytes = bytes, .size = encoded.size()});
}

void RecordList::Absorb(RecordList&& other) {
  std::move(other.chunks_.begin(), other.chunks_.end(), std::back_inserter(chunks_));
  chunk_left_ = 0;  // the last chunk is the other's now
  if (entries_.empty()) {
    entries_ = std::move(other.entries_);
  } else {
    entries_.insert(entries_.end(), other.entries_.begin(), other.entries_.end());
  }
  other = RecordList();
}

void RecordList::SortBySequence() {
  std::sort(entries_.begin(), entries_.end(),
            [](const Entry& a, const Entry& b) { return a.sequence < b.sequence; });
}

void RecordList::ForEach(
    absl::FunctionRef<void(const BlockKey&, const BlockRecord&, absl::string_view)> visit) const {
  // Once sorted, neighbours lie far from each other.
  constexpr size_t kAhead = 16;
  for (size_t i = 0; i < entries_.size(); ++i) {
    if (i + kAhead < entries_.size()) {
      const Entry& ahead = entries_[i + kAhead];
      for (size_t at = 0; at < sizeof(BlockKey) + ahead.size; at += 64) {
        __builtin_prefetch(ahead.bytes + at);
      }
    }
    const Entry& entry = entries_[i];
    BlockKey key;
    std::memcpy(&key, entry.bytes, sizeof(key));
    const absl::string_view encoded(entry.bytes + sizeof(key), entry.size);
    visit(key, *DecodeBlockRecord(encoded), encoded);
  }
}

absl::StatusOr<CollectedRecords> CollectRecords(const BlockCatalog& catalog, size_t max_bytes) {
  ASSIGN_OR_RETURN(Part whole, ReadWindow(catalog, Window(), max_bytes));
  CollectedRecords result = {.unreadable = std::move(whole.unreadable)};
  if (!whole.overflowed) {
    result.records = std::make_unique<RecordList>(std::move(whole.records));
  }
  return result;
}

absl::Status VisitInOrder(
    const BlockCatalog& catalog, size_t max_bytes,
    absl::FunctionRef<void(const BlockKey&, const BlockRecord&, absl::string_view)> visit) {
  ASSIGN_OR_RETURN(Part whole, ReadWindow(catalog, Window(), max_bytes));
  whole.records.SortBySequence();
  whole.records.ForEach(visit);
  // Windows of as many records as fit, by the sequences, which are few bytes.
  std::vector<uint64_t>& sequences = whole.sequences;
  std::sort(sequences.begin(), sequences.end());
  const size_t passes = 1 + whole.total_bytes / max_bytes;
  const size_t step = (sequences.size() + passes - 1) / passes;
  for (size_t begin = 0; begin < sequences.size(); begin += step) {
    Window window = {.min_sequence = sequences[begin]};
    if (begin + step < sequences.size()) window.max_sequence = sequences[begin + step];
    ASSIGN_OR_RETURN(Part part, ReadWindow(catalog, window, std::numeric_limits<size_t>::max()));
    part.records.SortBySequence();
    part.records.ForEach(visit);
  }
  if (whole.unreadable.empty()) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat("index: ", whole.unreadable.size(),
                                          " records cannot be decoded, one of them of block ",
                                          whole.unreadable[0].ToHex()));
}

}  // namespace reprise::cachestore
