// MappedArena: a server's RAM tier in this process's memory, for clients on the same host: blocks
// of a lease are read, and granted slots written, where they lie. Owns the mapping and the
// connection by which the server knows that this client lives: what the client can see is not used
// for other blocks before it is closed. Thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "reprise/v1/cache.pb.h"

namespace reprise::api {

namespace v1 = ::reprise::v1;

class MappedArena {
 public:
  // Maps the arena for the session `session_id`, which asked for shared memory and was told `where`
  // it is: to be read, and, if the session asked to write, to be written. kUnavailable: nobody
  // listens there; kPermissionDenied: the server does not hand it out to this process or session;
  // kDataLoss: what it hands out is not such a file. BLOCKS, `timeout` at most.
  static absl::StatusOr<std::unique_ptr<MappedArena>> Map(absl::string_view session_id,
                                                          const v1::SharedMemory& where,
                                                          absl::Duration timeout);
  // Every span goes with it.
  ~MappedArena();
  MappedArena(const MappedArena&) = delete;
  MappedArena& operator=(const MappedArena&) = delete;

  // Whether granted slots may be written.
  bool is_writable() const { return writable_ != nullptr; }

  // The block of `block_bytes` at `place`, as long as its lease is held. kDataLoss: the place is
  // not in the arena.
  absl::StatusOr<absl::Span<const std::byte>> Block(const v1::SlotPlace& place,
                                                    int64_t block_bytes) const;
  // The same, and verified: kDataLoss also where its bytes are not what the server says, if it
  // says.
  absl::StatusOr<absl::Span<const std::byte>> VerifiedBlock(const v1::SlotPlace& place,
                                                            int64_t block_bytes) const;
  // Copies `block` into a granted slot and returns its XXH3-64, for SealBlock.payload_xxh3, with
  // which the server finds out that the slot holds something else. It is taken on the way, for
  // little more than the copy. kInvalidArgument: `block` has not the `block_bytes` of its
  // namespace. Other errors as of Slot.
  absl::StatusOr<uint64_t> Fill(const v1::GrantedSlot& slot, int64_t block_bytes,
                                absl::Span<const std::byte> block) const;
  // A granted slot, to be written until it is sealed. kDataLoss as of Block; kFailedPrecondition:
  // the session did not ask to write.
  absl::StatusOr<absl::Span<std::byte>> Slot(const v1::GrantedSlot& slot,
                                             int64_t block_bytes) const;

 private:
  MappedArena(int connection, const std::byte* readable, std::byte* writable, size_t size)
      : connection_(connection), readable_(readable), writable_(writable), size_(size) {}
  absl::Status CheckPlace(int64_t offset, int64_t block_bytes) const;

  const int connection_;
  const std::byte* const readable_;
  std::byte* const writable_;  // a mapping of its own; null: nothing may be written
  const size_t size_;
};

}  // namespace reprise::api
