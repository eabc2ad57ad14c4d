// SlotWriter: fills slots with headers and payloads, durably. The next block is hashed while the
// ones before it are written. Pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "cachestore/tier/block_record.h"
#include "cachestore/tier/slot_files.h"
#include "cachestore/tier/slot_header.h"

namespace reprise::cachestore {

// One slot to write. `payload` is header.payload_bytes long and 4 KiB aligned; the bytes up to the
// next multiple of 4 KiB are written too.
struct SlotWrite {
  SlotHeader header;  // payload_hash is filled in by WriteSlots
  SlotAddress address;
  absl::Span<const std::byte> payload;
  std::optional<uint64_t> expected_hash;  // what payload_hash must come out as
};

// Hashes and writes all slots of `batch`, in its order; they are durable when it returns OK.
// BLOCKS. kDataLoss: a payload is not what its expected_hash says; kResourceExhausted, kInternal:
// I/O error. After an error the contents of the slots are undefined. REQUIRES: the slots are
// reserved.
absl::Status WriteSlots(const SlotFiles& slots, absl::Span<SlotWrite> batch);

}  // namespace reprise::cachestore
