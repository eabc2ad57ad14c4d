// TempFolder: a fresh folder, removed when destroyed.
#pragma once

#include <string>

#include "absl/strings/string_view.h"

namespace reprise::bench {

class TempFolder {
 public:
  // Under the system's temporary folder. CHECK-fails when the folder cannot be made.
  explicit TempFolder(absl::string_view name);
  // Under `parent`.
  TempFolder(absl::string_view name, absl::string_view parent);
  ~TempFolder();
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;

  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace reprise::bench
