#include "cachestore/memory/available_memory.h"

#include <algorithm>
#include <fstream>
#include <limits>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"

namespace reprise::cachestore {
namespace {

constexpr int64_t kUnlimited = std::numeric_limits<int64_t>::max();

// The number in a one-line file such as memory.max; `otherwise` for "max" or when there is none.
int64_t ReadNumber(const std::string& path, int64_t otherwise) {
  std::ifstream in(path);
  std::string word;
  int64_t value = 0;
  return in >> word && absl::SimpleAtoi(word, &value) ? value : otherwise;
}

// The number behind `name` in a file of lines "name number ..."; `otherwise` when there is none.
int64_t ReadField(const std::string& path, absl::string_view name, int64_t otherwise) {
  std::ifstream in(path);
  std::string field;
  std::string rest;
  int64_t value = 0;
  while (in >> field >> value) {
    std::getline(in, rest);
    if (field == name) return value;
  }
  return otherwise;
}

int64_t AvailableInMachine(const std::string& root) {
  const int64_t kibibytes = ReadField(root + "/proc/meminfo", "MemAvailable:", kUnlimited);
  return kibibytes == kUnlimited ? kUnlimited : kibibytes * 1024;
}

// What one cgroup leaves. Usage includes page cache; the inactive part of it is given back first.
int64_t AvailableInCgroup(const std::string& directory) {
  const int64_t limit = ReadNumber(directory + "/memory.max", kUnlimited);
  if (limit == kUnlimited) return kUnlimited;
  const int64_t used = ReadNumber(directory + "/memory.current", 0) -
                       ReadField(directory + "/memory.stat", "inactive_file", 0);
  return std::max<int64_t>(0, limit - std::max<int64_t>(0, used));
}

// The process's cgroup of version 2, "/" for the root or when there is none.
std::string OwnCgroup(const std::string& root) {
  std::ifstream in(root + "/proc/self/cgroup");
  std::string line;
  while (std::getline(in, line)) {
    absl::string_view path = line;
    if (absl::ConsumePrefix(&path, "0::")) return std::string(path);
  }
  return "/";
}

}  // namespace

int64_t AvailableMemoryBytes(const std::string& root) {
  int64_t available = AvailableInMachine(root);
  for (std::string cgroup = OwnCgroup(root);;) {
    available = std::min(available, AvailableInCgroup(root + "/sys/fs/cgroup" + cgroup));
    const size_t slash = cgroup.rfind('/');
    if (cgroup == "/" || slash == std::string::npos) return available;
    cgroup.resize(std::max<size_t>(slash, 1));
  }
}

}  // namespace reprise::cachestore
