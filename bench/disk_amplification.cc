#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cstdint>
#include <fstream>
#include <limits>
#include <memory>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "bench/disk_load.h"
#include "bench/disk_rows.h"
#include "bench/machine.h"
#include "bench/progress.h"
#include "bench/rounds.h"
#include "bench/temp_folder.h"
#include "cachestore/base/status_macros.h"

namespace reprise::bench {
namespace {

constexpr int64_t kMiB = int64_t{1} << 20;
constexpr int64_t kBlockBytes = 2 * kMiB;
constexpr int64_t kSectorBytes = 512;  // the unit of /proc/diskstats, whatever the device's is

// Bytes ever written to the device that holds `path`, by anyone; nullopt where the file system
// stands on no block device of its own.
std::optional<int64_t> DeviceWrittenBytes(const std::string& path) {
  struct stat info;
  if (stat(path.c_str(), &info) != 0) return std::nullopt;
  std::ifstream in("/proc/diskstats");
  uint32_t major_number = 0;
  uint32_t minor_number = 0;
  std::string name;
  while (in >> major_number >> minor_number >> name) {
    // Reads completed, merged, sectors, milliseconds; writes completed, merged, sectors.
    int64_t figures[7];
    for (int64_t& figure : figures) in >> figure;
    in.ignore(std::numeric_limits<std::streamsize>::max(), '\n');
    if (major_number == major(info.st_dev) && minor_number == minor(info.st_dev)) {
      return figures[6] * kSectorBytes;
    }
  }
  return std::nullopt;
}

// Bytes that this process caused to be written.
std::optional<int64_t> ProcessWrittenBytes() {
  std::ifstream in("/proc/self/io");
  std::string name;
  int64_t value = 0;
  while (in >> name >> value) {
    if (name == "write_bytes:") return value;
  }
  return std::nullopt;
}

// Writes out what the kernel still holds of the file system of `path`, so that it is counted.
void SyncFileSystem(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return;
  (void)syncfs(fd);
  close(fd);
}

}  // namespace

absl::StatusOr<std::vector<Result>> MeasureAmplification(Extent extent,
                                                         const std::string& directory) {
  constexpr int64_t kChainBlocks = 16;
  constexpr int kTurns = 3;
  const int64_t capacity = ByExtent<int64_t>(extent, 96 * kMiB, 3072 * kMiB);
  const int64_t chains = capacity / (kChainBlocks * kBlockBytes);
  ASSIGN_OR_RETURN(const TempFolder folder,
                   TempFolder::Make("reprise-bench-amplification", directory));
  ASSIGN_OR_RETURN(const std::unique_ptr<DiskLoad> load,
                   DiskLoad::Open({.directory = folder.path() + "/store",
                                   .block_bytes = kBlockBytes,
                                   .chain_blocks = kChainBlocks,
                                   .ram_bytes = capacity / 3,
                                   .disk_bytes = capacity + capacity / kBlockBytes * 4096}));
  Progress progress("disk.write_amplification", kTurns + 1);
  std::vector<double> by_device;
  std::vector<double> by_process;
  for (int turn = 0; turn <= kTurns; ++turn) {
    progress.Update(turn, "turns of the whole disk tier");
    SyncFileSystem(folder.path());
    const std::optional<int64_t> device_before = DeviceWrittenBytes(folder.path());
    const std::optional<int64_t> process_before = ProcessWrittenBytes();
    RETURN_IF_ERROR(load->PutChains(chains));
    RETURN_IF_ERROR(load->Demote());
    SyncFileSystem(folder.path());
    if (turn == 0) continue;  // fills the tier
    const double payload = static_cast<double>(chains * load->chain_bytes());
    if (device_before.has_value()) {
      by_device.push_back(static_cast<double>(*DeviceWrittenBytes(folder.path()) - *device_before) /
                          payload);
    }
    if (process_before.has_value()) {
      by_process.push_back(static_cast<double>(*ProcessWrittenBytes() - *process_before) / payload);
    }
  }
  if (by_device.empty() && by_process.empty()) {
    return absl::UnavailableError(
        "neither /proc/diskstats nor /proc/self/io counts what is written");
  }
  Result row{.metric = "disk.write_amplification",
             .unit = "ratio",
             .ours = Median(by_device.empty() ? by_process : by_device)};
  row.goal = Goal{Goal::Of::kOurs, Goal::Bound::kAtMost, 1.03};
  row.context = {{"figure", by_device.empty() ? "write_bytes of the process"
                                              : "sectors written to the device, by anyone"},
                 {"turns", absl::StrCat(kTurns)},
                 {"disk_bytes", absl::StrCat(capacity)},
                 {"file_system", FileSystemInWords(directory)}};
  if (!by_process.empty()) {
    row.context["by_process_counter"] = absl::StrFormat("%.4f", Median(by_process));
  }
  return std::vector<Result>{std::move(row)};
}

}  // namespace reprise::bench
