#include "bench/temp_folder.h"

#include <cstdlib>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "cachestore/base/check.h"

namespace reprise::bench {

TempFolder::TempFolder(absl::string_view name)
    : TempFolder(name, std::filesystem::temp_directory_path().string()) {}

TempFolder::TempFolder(absl::string_view name, absl::string_view parent)
    : path_(absl::StrCat(parent, "/", name, "-XXXXXX")) {
  CHECK(mkdtemp(path_.data()) != nullptr);
}

TempFolder::~TempFolder() {
  std::error_code ignored;  // a folder left behind is harmless
  std::filesystem::remove_all(path_, ignored);
}

}  // namespace reprise::bench
