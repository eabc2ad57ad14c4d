// A directory whose FORMAT holds any bytes: it is opened if they are ours, and otherwise refused
// and left as it was.
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "absl/strings/match.h"
#include "cachestore/base/check.h"
#include "cachestore/tier/disk_directory.h"

namespace {

std::string MakeDirectory() {
  std::string path = (std::filesystem::temp_directory_path() / "format_fuzz_XXXXXX").string();
  CHECK(mkdtemp(path.data()) != nullptr);
  return path;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const std::string* directory = [] {
    auto* path = new std::string(MakeDirectory());
    std::atexit([] { std::filesystem::remove_all(*directory); });
    return path;
  }();
  const std::string format = *directory + "/FORMAT";
  const std::string text(reinterpret_cast<const char*>(data), size);
  std::ofstream(format, std::ios::binary) << text;
  const auto opened = reprise::cachestore::DiskDirectory::Open(*directory);
  if (opened.ok()) {
    CHECK(absl::StartsWith(text, "reprise-disk-tier ") && absl::EndsWith(text, "1\n"));
  } else {
    CHECK(opened.status().code() == absl::StatusCode::kFailedPrecondition);
  }
  std::ifstream in(format, std::ios::binary);
  CHECK(std::string(std::istreambuf_iterator<char>(in), {}) == text);
  return 0;
}
