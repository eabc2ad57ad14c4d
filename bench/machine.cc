#include "bench/machine.h"

#include <sys/utsname.h>
#include <unistd.h>

#include <fstream>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace reprise::bench {
namespace {

std::string CpuModel() {
  std::ifstream in("/proc/cpuinfo");
  for (std::string line; std::getline(in, line);) {
    if (!absl::StartsWith(line, "model name")) continue;
    const std::vector<std::string> parts = absl::StrSplit(line, absl::MaxSplits(": ", 1));
    if (parts.size() == 2) return parts[1];
  }
  return "CPU";
}

}  // namespace

std::string MachineInWords() {
  const int64_t ram = int64_t{sysconf(_SC_PHYS_PAGES)} * sysconf(_SC_PAGE_SIZE);
  struct utsname name;
  const std::string kernel = uname(&name) == 0 ? absl::StrCat(", Linux ", name.release) : "";
  return absl::StrCat(sysconf(_SC_NPROCESSORS_ONLN), " x ", CpuModel(), ", ", ram >> 30, " GiB RAM",
                      kernel);
}

std::string FileSystemInWords(const std::string& path) {
  std::ifstream mounts("/proc/self/mounts");
  std::string best;
  std::string words = "unknown";
  for (std::string line; std::getline(mounts, line);) {
    // device, mount point, type, ...
    const std::vector<std::string> fields = absl::StrSplit(line, ' ');
    if (fields.size() < 3 || fields[1].size() < best.size()) continue;
    const std::string& point = fields[1];
    const bool holds = path == point || point == "/" || absl::StartsWith(path, point + "/");
    if (!holds) continue;
    best = point;
    words = absl::StrCat(fields[2], " on ", absl::StripPrefix(fields[0], "/dev/"));
  }
  return words;
}

}  // namespace reprise::bench
