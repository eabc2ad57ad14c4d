// The files of the repository, for the tests that read them: everything but build outputs and what
// begins with a dot.
#pragma once

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

namespace reprise {

struct SourceFile {
  std::string path;  // from the repository's root
  std::string text;
};

// The text of the file at `path` from the repository's root; "" when there is none.
inline std::string ReadSourceFile(const std::string& path) {
  std::ifstream stream(std::filesystem::path(REPRISE_SOURCE_DIR) / path, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
}

inline std::vector<SourceFile> ReadSourceTree() {
  namespace fs = std::filesystem;
  const fs::path root = REPRISE_SOURCE_DIR;
  std::vector<SourceFile> files;
  for (auto entry = fs::recursive_directory_iterator(root);
       entry != fs::recursive_directory_iterator(); ++entry) {
    const std::string name = entry->path().filename().string();
    const fs::path path = fs::relative(entry->path(), root);
    if (name.front() == '.' || name == "__pycache__" || path == "build") {
      entry.disable_recursion_pending();
      continue;
    }
    if (!entry->is_regular_file()) continue;
    files.push_back({path.string(), ReadSourceFile(path.string())});
  }
  std::sort(files.begin(), files.end(),
            [](const SourceFile& a, const SourceFile& b) { return a.path < b.path; });
  return files;
}

// "" for a name without a dot.
inline std::string ExtensionOf(const std::string& path) {
  return std::filesystem::path(path).extension().string();
}

inline bool IsCpp(const std::string& path) {
  const std::string extension = ExtensionOf(path);
  return extension == ".h" || extension == ".cc" || extension == ".cu" || extension == ".cuh";
}

// Lines without their line ends.
inline std::vector<std::string> LinesOf(const std::string& text) {
  std::vector<std::string> lines;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    lines.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return lines;
}

}  // namespace reprise
