// CopyBed: a device and memory on both sides of it, to measure copies with.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "cachestore/memory/device.h"
#include "cachestore/memory/host_arena.h"

namespace reprise::bench {

// Opens the device to measure; OpenDevice, but in tests.
using DeviceOpener = std::function<absl::StatusOr<std::unique_ptr<cachestore::Device>>(
    const cachestore::CopyCrossovers&)>;

// What one lane copies.
struct LanePieces {
  cachestore::Lane lane;
  std::vector<cachestore::CopyPiece> pieces;
};

// Thread-compatible, but Rate may run beside other work on the device.
class CopyBed {
 public:
  // For each of the two copying lanes `bytes` on both sides, of random content. kDataLoss: bytes
  // that went to the device came back changed; kNotFound: there is no device.
  static absl::StatusOr<std::unique_ptr<CopyBed>> Create(
      const DeviceOpener& open, const cachestore::CopyCrossovers& crossovers, size_t bytes);

  // All of the lane's memory in pieces that lie in random places on both sides; in one piece if
  // that is what `piece_bytes` says.
  LanePieces Pieces(cachestore::Lane lane, size_t piece_bytes) const;

  // GB/s of all lists, copied at once, so many pieces a call. BLOCKS.
  absl::StatusOr<double> Rate(absl::Span<const LanePieces> lists, size_t pieces_a_call);

  cachestore::Device& device() { return *device_; }
  // Of one lane.
  size_t bytes() const { return bytes_; }

 private:
  CopyBed(std::unique_ptr<cachestore::HostArena> host, std::unique_ptr<cachestore::Device> device,
          cachestore::DeviceBytes pinned, cachestore::DeviceBytes own, size_t bytes);

  // What goes to the device in small pieces comes back the same, in another place of the host.
  absl::Status CheckBytes();

  const std::unique_ptr<cachestore::HostArena> host_;
  const std::unique_ptr<cachestore::Device> device_;
  const cachestore::DeviceBytes pinned_;
  const cachestore::DeviceBytes own_;
  const size_t bytes_;
};

}  // namespace reprise::bench
