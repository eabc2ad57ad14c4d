// RecordList: index records in memory, and the ways to read them all: at once, or in the order in
// which their blocks were stored, though RocksDB iterates in key order. Thread-compatible.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "cachestore/tier/block_catalog.h"
#include "cachestore/tier/block_record.h"

namespace reprise::cachestore {

class RecordList {
 public:
  // `encoded` is as EncodeBlockRecord made it, with this sequence.
  void Add(const BlockKey& key, absl::string_view encoded, uint64_t sequence);
  // Takes over what `other` holds.
  void Absorb(RecordList&& other);
  void SortBySequence();

  // Calls `visit` for every record, in the list's order; `encoded` is the whole record.
  void ForEach(absl::FunctionRef<void(const BlockKey& key, const BlockRecord& record,
                                      absl::string_view encoded)>
                   visit) const;

 private:
  static constexpr size_t kChunkBytes = size_t{1} << 20;
  struct Entry {
    uint64_t sequence;
    const char* bytes;  // index key, then record
    size_t size;        // of the record
  };

  std::vector<std::unique_ptr<char[]>> chunks_;
  char* free_ = nullptr;  // the rest of the last chunk
  size_t chunk_left_ = 0;
  std::vector<Entry> entries_;
};

// Of records held in memory at a time: about 6 million blocks of 16 tokens. More are read in
// several passes.
inline constexpr size_t kMaxRecordBytes = size_t{1} << 30;

struct CollectedRecords {
  std::vector<BlockKey> unreadable;  // keys whose records cannot be decoded
  // All readable records, in no order; null when they take more memory than was allowed.
  std::unique_ptr<RecordList> records;
};

// Reads all records of `catalog` into about `max_bytes` of memory, if they fit. BLOCKS.
absl::StatusOr<CollectedRecords> CollectRecords(const BlockCatalog& catalog, size_t max_bytes);

// Calls `visit` for every record of `catalog` in the order of storing, holding about `max_bytes` of
// records in memory: when they do not fit, the catalog is read several times. BLOCKS. kDataLoss: a
// record cannot be decoded; the others were visited.
absl::Status VisitInOrder(const BlockCatalog& catalog, size_t max_bytes,
                          absl::FunctionRef<void(const BlockKey& key, const BlockRecord& record,
                                                 absl::string_view encoded)>
                              visit);

}  // namespace reprise::cachestore
