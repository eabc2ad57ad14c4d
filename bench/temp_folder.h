// TempFolder: a fresh folder under the system's temporary folder, removed when destroyed.
#pragma once

#include <string>

#include "absl/strings/string_view.h"

namespace reprise::bench {

class TempFolder {
 public:
  // CHECK-fails when the folder cannot be made.
  explicit TempFolder(absl::string_view name);
  ~TempFolder();
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;

  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace reprise::bench
