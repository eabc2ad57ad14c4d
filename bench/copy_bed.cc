#include "bench/copy_bed.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <numeric>
#include <random>
#include <utility>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "cachestore/base/status_macros.h"

namespace reprise::bench {

using cachestore::CopyCrossovers;
using cachestore::CopyPiece;
using cachestore::Device;
using cachestore::DeviceBytes;
using cachestore::HostArena;
using cachestore::Lane;

absl::StatusOr<std::unique_ptr<CopyBed>> CopyBed::Create(const DeviceOpener& open,
                                                         const CopyCrossovers& crossovers,
                                                         size_t bytes) {
  ASSIGN_OR_RETURN(std::unique_ptr<Device> device, open(crossovers));
  ASSIGN_OR_RETURN(std::unique_ptr<HostArena> host,
                   HostArena::Reserve(static_cast<int64_t>(2 * bytes)));
  std::mt19937_64 random(1);
  for (size_t i = 0; i < 2 * bytes; i += sizeof(uint64_t)) {
    const uint64_t word = random();
    std::memcpy(host->bytes().data() + i, &word, sizeof(word));
  }
  ASSIGN_OR_RETURN(DeviceBytes pinned, device->Register(host->bytes()));
  ASSIGN_OR_RETURN(DeviceBytes own, device->Reserve(2 * bytes));
  std::unique_ptr<CopyBed> bed(
      new CopyBed(std::move(host), std::move(device), std::move(pinned), std::move(own), bytes));
  RETURN_IF_ERROR(bed->CheckBytes());
  return bed;
}

CopyBed::CopyBed(std::unique_ptr<HostArena> host, std::unique_ptr<Device> device,
                 DeviceBytes pinned, DeviceBytes own, size_t bytes)
    : host_(std::move(host)),
      device_(std::move(device)),
      pinned_(std::move(pinned)),
      own_(std::move(own)),
      bytes_(bytes) {}

LanePieces CopyBed::Pieces(Lane lane, size_t piece_bytes) const {
  const size_t half = lane == Lane::kToDevice ? 0 : bytes_;
  std::vector<size_t> places(bytes_ / piece_bytes);
  std::iota(places.begin(), places.end(), size_t{0});
  std::shuffle(places.begin(), places.end(), std::mt19937(2));
  LanePieces list{lane, {}};
  for (size_t i = 0; i < places.size(); ++i) {
    std::byte* const host = host_->bytes().data() + half + places[i] * piece_bytes;
    std::byte* const own = own_.bytes().data() + half + places[places.size() - 1 - i] * piece_bytes;
    list.pieces.push_back(lane == Lane::kToDevice ? CopyPiece{own, host, piece_bytes}
                                                  : CopyPiece{host, own, piece_bytes});
  }
  return list;
}

absl::StatusOr<double> CopyBed::Rate(absl::Span<const LanePieces> lists, size_t pieces_a_call) {
  const absl::Time begin = absl::Now();
  size_t longest = 0;
  for (const LanePieces& list : lists) longest = std::max(longest, list.pieces.size());
  for (size_t i = 0; i < longest; i += pieces_a_call) {
    for (const LanePieces& list : lists) {
      if (i >= list.pieces.size()) continue;
      RETURN_IF_ERROR(
          device_->Copy(list.lane, absl::MakeConstSpan(list.pieces).subspan(i, pieces_a_call)));
    }
  }
  for (const LanePieces& list : lists) {
    RETURN_IF_ERROR(device_->Wait(device_->Mark(list.lane)));
  }
  return static_cast<double>(lists.size() * bytes_) / absl::ToDoubleSeconds(absl::Now() - begin) /
         1e9;
}

absl::Status CopyBed::CheckBytes() {
  const LanePieces there = Pieces(Lane::kToDevice, 16 << 10);
  LanePieces back{Lane::kToHost, {}};
  for (const CopyPiece& piece : there.pieces) {
    const size_t place = static_cast<size_t>(piece.from - host_->bytes().data());
    back.pieces.push_back({host_->bytes().data() + bytes_ + place, piece.to, piece.bytes});
  }
  RETURN_IF_ERROR(Rate({there}, there.pieces.size()).status());
  RETURN_IF_ERROR(Rate({back}, back.pieces.size()).status());
  const std::byte* const sent = host_->bytes().data();
  return std::memcmp(sent, sent + bytes_, bytes_) == 0
             ? absl::OkStatus()
             : absl::DataLossError("the bytes that came back from the device are not those sent");
}

}  // namespace reprise::bench
