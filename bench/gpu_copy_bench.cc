#include "bench/gpu_copy_bench.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <numeric>
#include <optional>
#include <random>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "bench/rounds.h"
#include "bench/row_groups.h"
#include "cachestore/base/status_macros.h"
#include "cachestore/memory/host_arena.h"

namespace reprise::bench {
namespace {

using cachestore::CopyCrossover;
using cachestore::CopyCrossovers;
using cachestore::CopyPiece;
using cachestore::Device;
using cachestore::DeviceBytes;
using cachestore::HostArena;
using cachestore::Lane;

// Of one Copy call: so the next list is planned while one is copied.
constexpr size_t kPiecesACall = 1024;

struct LanePieces {
  Lane lane;
  std::vector<CopyPiece> pieces;
};

// A device, and the memory that is copied: for each of the two copying lanes `bytes` on both sides.
class CopyBed {
 public:
  static absl::StatusOr<std::unique_ptr<CopyBed>> Create(const DeviceOpener& open,
                                                         const CopyCrossovers& crossovers,
                                                         size_t bytes) {
    ASSIGN_OR_RETURN(std::unique_ptr<HostArena> host,
                     HostArena::Reserve(static_cast<int64_t>(2 * bytes)));
    std::mt19937_64 random(1);
    for (size_t i = 0; i < 2 * bytes; i += sizeof(uint64_t)) {
      const uint64_t word = random();
      std::memcpy(host->bytes().data() + i, &word, sizeof(word));
    }
    ASSIGN_OR_RETURN(std::unique_ptr<Device> device, open(crossovers));
    ASSIGN_OR_RETURN(DeviceBytes pinned, device->Register(host->bytes()));
    ASSIGN_OR_RETURN(DeviceBytes own, device->Reserve(2 * bytes));
    std::unique_ptr<CopyBed> bed(
        new CopyBed(std::move(host), std::move(device), std::move(pinned), std::move(own), bytes));
    RETURN_IF_ERROR(bed->CheckBytes());
    return bed;
  }

  // All of the lane's memory in pieces that lie in random places on both sides; in one piece if
  // that is what `piece_bytes` says.
  LanePieces Pieces(Lane lane, size_t piece_bytes) const {
    const size_t half = lane == Lane::kToDevice ? 0 : bytes_;
    std::vector<size_t> places(bytes_ / piece_bytes);
    std::iota(places.begin(), places.end(), size_t{0});
    std::shuffle(places.begin(), places.end(), std::mt19937(2));
    LanePieces list{lane, {}};
    for (size_t i = 0; i < places.size(); ++i) {
      std::byte* const host = host_->bytes().data() + half + places[i] * piece_bytes;
      std::byte* const own =
          own_.bytes().data() + half + places[places.size() - 1 - i] * piece_bytes;
      list.pieces.push_back(lane == Lane::kToDevice ? CopyPiece{own, host, piece_bytes}
                                                    : CopyPiece{host, own, piece_bytes});
    }
    return list;
  }

  // GB/s of all lists, copied at once.
  absl::StatusOr<double> Rate(absl::Span<const LanePieces> lists, size_t pieces_a_call) {
    const absl::Time begin = absl::Now();
    size_t bytes = 0;
    size_t longest = 0;
    for (const LanePieces& list : lists) longest = std::max(longest, list.pieces.size());
    for (size_t i = 0; i < longest; i += pieces_a_call) {
      for (const LanePieces& list : lists) {
        if (i >= list.pieces.size()) continue;
        const auto part = absl::MakeConstSpan(list.pieces).subspan(i, pieces_a_call);
        RETURN_IF_ERROR(device_->Copy(list.lane, part));
        for (const CopyPiece& piece : part) bytes += piece.bytes;
      }
    }
    for (const LanePieces& list : lists) {
      RETURN_IF_ERROR(device_->Wait(device_->Mark(list.lane)));
    }
    return static_cast<double>(bytes) / absl::ToDoubleSeconds(absl::Now() - begin) / 1e9;
  }

 private:
  CopyBed(std::unique_ptr<HostArena> host, std::unique_ptr<Device> device, DeviceBytes pinned,
          DeviceBytes own, size_t bytes)
      : host_(std::move(host)),
        device_(std::move(device)),
        pinned_(std::move(pinned)),
        own_(std::move(own)),
        bytes_(bytes) {}

  // What goes to the device in small pieces comes back the same, in another place of the host.
  absl::Status CheckBytes() {
    const LanePieces there = Pieces(Lane::kToDevice, 16 << 10);
    LanePieces back{Lane::kToHost, {}};
    for (const CopyPiece& piece : there.pieces) {
      const size_t place = static_cast<size_t>(piece.from - host_->bytes().data());
      back.pieces.push_back({host_->bytes().data() + bytes_ + place, piece.to, piece.bytes});
    }
    RETURN_IF_ERROR(Rate({there}, kPiecesACall).status());
    RETURN_IF_ERROR(Rate({back}, kPiecesACall).status());
    const std::byte* const sent = host_->bytes().data();
    return std::memcmp(sent, sent + bytes_, bytes_) == 0
               ? absl::OkStatus()
               : absl::DataLossError("the bytes that came back from the device are not those sent");
  }

  const std::unique_ptr<HostArena> host_;
  const std::unique_ptr<Device> device_;
  const DeviceBytes pinned_;
  const DeviceBytes own_;
  const size_t bytes_;
};

// Which lanes copy.
struct Way {
  std::string name;
  std::vector<Lane> lanes;
};
const Way kToDevice = {"to_device", {Lane::kToDevice}};
const Way kToHost = {"to_host", {Lane::kToHost}};
const Way kBoth = {"both", {Lane::kToDevice, Lane::kToHost}};

Arm MakeArm(const std::string& name, CopyBed& bed, const Way& way, size_t piece_bytes,
            size_t pieces_a_call) {
  std::vector<LanePieces> lists;
  for (const Lane lane : way.lanes) lists.push_back(bed.Pieces(lane, piece_bytes));
  return {name, [&bed, lists = std::move(lists), pieces_a_call] {
            return bed.Rate(lists, pieces_a_call);
          }};
}

size_t BedBytes(Extent extent) {
  return ByExtent<size_t>(extent, size_t{4} << 20, size_t{1} << 30);
}

// Pieces of `piece_bytes` beside one of all bytes.
absl::StatusOr<Result> MeasurePieces(CopyBed& bed, const std::string& metric, const Way& way,
                                     size_t piece_bytes, double goal, Extent extent) {
  const std::vector<Arm> arms = {MakeArm(metric, bed, way, piece_bytes, kPiecesACall),
                                 MakeArm(metric + ", in one piece", bed, way, BedBytes(extent), 1)};
  ASSIGN_OR_RETURN(const std::vector<double> rates,
                   MedianOfRounds(metric, ByExtent(extent, 1, 9), arms));
  Result row{.metric = metric, .unit = "GB/s", .ours = rates[0], .limit = rates[1]};
  row.goal = {Goal::Of::kOursOverLimit, Goal::Bound::kAtLeast, goal};
  row.context = {{"limit", "one pinned copy of the same bytes"},
                 {"bytes a lane", absl::StrCat(BedBytes(extent))}};
  return row;
}

absl::StatusOr<std::vector<Result>> MeasureBlocks(const DeviceOpener& open, Extent extent) {
  ASSIGN_OR_RETURN(const auto bed, CopyBed::Create(open, {}, BedBytes(extent)));
  std::vector<Result> rows;
  for (const Way& way : {kToDevice, kToHost, kBoth}) {
    ASSIGN_OR_RETURN(Result row, MeasurePieces(*bed, absl::StrCat("gpu.copy_2mib_", way.name), way,
                                               size_t{2} << 20, 0.95, extent));
    rows.push_back(std::move(row));
  }
  return rows;
}

absl::StatusOr<std::vector<Result>> MeasureScattered(const DeviceOpener& open, Extent extent) {
  ASSIGN_OR_RETURN(const auto bed, CopyBed::Create(open, {}, BedBytes(extent)));
  std::vector<Result> rows;
  for (const size_t kib : {16, 64}) {
    for (const Way& way : {kToDevice, kToHost}) {
      ASSIGN_OR_RETURN(
          Result row,
          MeasurePieces(*bed, absl::StrCat("gpu.copy_scattered_", kib, "kib_", way.name), way,
                        kib << 10, 0.85, extent));
      rows.push_back(std::move(row));
    }
  }
  return rows;
}

// The kernel alone, and as its peer the batched call alone.
absl::StatusOr<std::vector<Result>> MeasureCrossover(const DeviceOpener& open, Extent extent) {
  constexpr size_t kPiecesOfABatch = 64;
  const size_t bytes = BedBytes(extent) / 4;
  const CopyCrossover always = {std::numeric_limits<size_t>::max(), 0};
  const CopyCrossover never = {};
  ASSIGN_OR_RETURN(const auto kernel, CopyBed::Create(open, {always, always, always}, bytes));
  ASSIGN_OR_RETURN(const auto batched, CopyBed::Create(open, {never, never, never}, bytes));
  std::vector<Result> rows;
  for (const size_t kib : {4, 8, 16, 32, 64, 128}) {
    for (const Way& way : {kToDevice, kToHost}) {
      const std::string metric = absl::StrCat("gpu.copy_crossover_", kib, "kib_", way.name);
      const std::vector<Arm> arms = {MakeArm("kernel", *kernel, way, kib << 10, kPiecesOfABatch),
                                     MakeArm("batched", *batched, way, kib << 10, kPiecesOfABatch)};
      ASSIGN_OR_RETURN(const std::vector<double> rates,
                       MedianOfRounds(metric, ByExtent(extent, 1, 5), arms));
      Result row{.metric = metric, .unit = "GB/s", .ours = rates[0], .peer = rates[1]};
      row.context = {{"ours", "the kernel for small pieces"},
                     {"peer", "cudaMemcpyBatchAsync"},
                     {"pieces a call", absl::StrCat(kPiecesOfABatch)}};
      rows.push_back(std::move(row));
    }
  }
  return rows;
}

}  // namespace

absl::StatusOr<std::vector<Result>> RunGpuCopyBench(const GpuCopyBenchOptions& options,
                                                    const DeviceOpener& open) {
  // Without a device, before anything takes time.
  RETURN_IF_ERROR(open({}).status());
  return RunGroups({{"blocks", [&] { return MeasureBlocks(open, options.extent); }},
                    {"scattered", [&] { return MeasureScattered(open, options.extent); }},
                    {"crossover", [&] { return MeasureCrossover(open, options.extent); }}},
                   options.groups, options.extent);
}

}  // namespace reprise::bench
