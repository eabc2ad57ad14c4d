// ModelFolder: a temporary model folder of a test, removed with it. Made empty or as a copy of a
// parity fixture; files can be replaced and edited.
#pragma once

#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <sstream>
#include <string>

#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace reprise::engine {

inline std::string FixturePath(const std::string& name) {
  return std::string(REPRISE_SOURCE_DIR) + "/tests/parity/fixtures/" + name;
}

class ModelFolder {
 public:
  ModelFolder() {
    std::string path = (std::filesystem::temp_directory_path() / "reprise_model_XXXXXX").string();
    if (mkdtemp(path.data()) == nullptr) ADD_FAILURE() << "no temporary folder " << path;
    path_ = path;
  }
  explicit ModelFolder(const std::string& fixture) : ModelFolder() {
    std::filesystem::copy(FixturePath(fixture), path_);
  }
  ~ModelFolder() { std::filesystem::remove_all(path_); }
  ModelFolder(const ModelFolder&) = delete;
  ModelFolder& operator=(const ModelFolder&) = delete;

  const std::string& path() const { return path_; }
  std::string file(const std::string& name) const { return path_ + "/" + name; }

  std::string Read(const std::string& name) const {
    std::ifstream in(file(name), std::ios::binary);
    std::ostringstream text;
    text << in.rdbuf();
    return text.str();
  }
  void Write(const std::string& name, const std::string& bytes) const {
    std::ofstream(file(name), std::ios::binary) << bytes;
  }
  void Remove(const std::string& name) const { std::filesystem::remove(file(name)); }

  void EditJson(const std::string& name, const std::function<void(nlohmann::json&)>& edit) const {
    nlohmann::json value = nlohmann::json::parse(Read(name));
    edit(value);
    Write(name, value.dump());
  }

  // Changes the header of a safetensors file and leaves its data bytes.
  void EditHeader(const std::string& name, const std::function<void(nlohmann::json&)>& edit) const;

 private:
  std::string path_;
};

// Bytes of a safetensors file.
inline std::string SafetensorsBytes(const std::string& header, const std::string& data) {
  const uint64_t length = header.size();
  return std::string(reinterpret_cast<const char*>(&length), sizeof(length)) + header + data;
}

inline void ModelFolder::EditHeader(const std::string& name,
                                    const std::function<void(nlohmann::json&)>& edit) const {
  const std::string bytes = Read(name);
  uint64_t length = 0;
  bytes.copy(reinterpret_cast<char*>(&length), sizeof(length));
  nlohmann::json header = nlohmann::json::parse(bytes.substr(sizeof(length), length));
  edit(header);
  Write(name, SafetensorsBytes(header.dump(), bytes.substr(sizeof(length) + length)));
}

}  // namespace reprise::engine
