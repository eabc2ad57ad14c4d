#include "bench/private_memory.h"

#include <malloc.h>

#include <fstream>
#include <string>

namespace reprise::bench {

absl::StatusOr<int64_t> PrivateBytes() {
  malloc_trim(0);
  std::ifstream in("/proc/self/status");
  std::string name;
  int64_t kibibytes = 0;
  while (in >> name) {
    if (name == "RssAnon:" && in >> kibibytes) return kibibytes * 1024;
  }
  return absl::UnavailableError("/proc/self/status has no RssAnon");
}

}  // namespace reprise::bench
