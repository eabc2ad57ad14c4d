#include "bench/temp_folder.h"

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "cachestore/base/status_macros.h"

namespace reprise::bench {

absl::StatusOr<std::string> FolderOrTemp(absl::string_view folder) {
  std::error_code error;
  if (folder.empty()) {
    std::string temp = std::filesystem::temp_directory_path(error).string();
    if (!error) return temp;
    return absl::NotFoundError(
        absl::StrCat("no folder for temporary files (TMPDIR): ", error.message()));
  }
  const std::filesystem::path path{std::string(folder)};
  const bool is_folder = std::filesystem::is_directory(path, error);
  if (error) return absl::NotFoundError(absl::StrCat(folder, ": ", error.message()));
  if (!is_folder) return absl::NotFoundError(absl::StrCat(folder, " is no folder"));
  return std::string(folder);
}

absl::StatusOr<TempFolder> TempFolder::Make(absl::string_view name, absl::string_view parent) {
  ASSIGN_OR_RETURN(const std::string in, FolderOrTemp(parent));
  std::string path = absl::StrCat(in, "/", name, "-XXXXXX");
  if (mkdtemp(path.data()) == nullptr) {
    return absl::ErrnoToStatus(errno, absl::StrCat("no folder can be made in ", in));
  }
  return TempFolder(std::move(path));
}

TempFolder::~TempFolder() {
  if (path_.empty()) return;
  std::error_code ignored;  // a folder left behind is harmless
  std::filesystem::remove_all(path_, ignored);
}

}  // namespace reprise::bench
