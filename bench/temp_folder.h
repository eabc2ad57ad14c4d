// TempFolder: a fresh folder, removed with all in it when its owner goes. Movable.
#pragma once

#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace reprise::bench {

class TempFolder {
 public:
  // Under `parent`, which must be there; empty: under the system's temporary folder. The errors
  // name the folder that cannot be used.
  static absl::StatusOr<TempFolder> Make(absl::string_view name, absl::string_view parent = "");
  ~TempFolder();
  TempFolder(TempFolder&& other) noexcept : path_(std::exchange(other.path_, "")) {}
  TempFolder& operator=(TempFolder&&) = delete;

  const std::string& path() const { return path_; }

 private:
  explicit TempFolder(std::string path) : path_(std::move(path)) {}

  std::string path_;  // empty: moved from
};

// The folder that is named, or the system's temporary one when none is. The errors of a folder that
// is not there, which they name.
absl::StatusOr<std::string> FolderOrTemp(absl::string_view folder);

}  // namespace reprise::bench
