#include "engine/model/checkpoint.h"

#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "cachestore/base/status_macros.h"
#include "engine/model/json_object.h"

namespace reprise::engine {
namespace {

constexpr int64_t kMostIndexBytes = 64 << 20;

bool Exists(const std::string& path) {
  std::error_code error;
  return std::filesystem::exists(path, error);
}

// A shard is a file of the folder itself, never a path that leads out of it.
bool IsPlainFileName(const std::string& name) {
  return !name.empty() && name != "." && name != ".." && name.find('/') == std::string::npos &&
         name.find('\0') == std::string::npos;
}

}  // namespace

absl::StatusOr<Checkpoint> Checkpoint::Open(const std::string& folder) {
  if (!Exists(folder)) {
    return absl::NotFoundError(absl::StrCat("model folder ", folder, " does not exist"));
  }
  Checkpoint checkpoint(folder);
  const std::string single = absl::StrCat(folder, "/model.safetensors");
  const std::string index = absl::StrCat(folder, "/model.safetensors.index.json");
  if (Exists(single)) {
    ASSIGN_OR_RETURN(auto file, SafetensorsFile::Open(single));
    checkpoint.tensors_ = file->tensors();
    checkpoint.files_.push_back(std::move(file));
  } else if (Exists(index)) {
    RETURN_IF_ERROR(checkpoint.OpenShards(index));
  } else {
    return absl::NotFoundError(
        absl::StrCat(folder, ": has neither model.safetensors nor model.safetensors.index.json",
                     Exists(absl::StrCat(folder, "/pytorch_model.bin"))
                         ? "; pytorch_model.bin is not read, save the model as safetensors"
                         : ""));
  }
  return checkpoint;
}

const StoredTensor* Checkpoint::Find(const std::string& name) const {
  const auto it = tensors_.find(name);
  return it == tensors_.end() ? nullptr : &it->second;
}

absl::Status Checkpoint::OpenShards(const std::string& index_path) {
  ASSIGN_OR_RETURN(const JsonObject index, JsonObject::ReadFile(index_path, kMostIndexBytes));
  ASSIGN_OR_RETURN(const JsonObject weight_map, index.Object("weight_map"));
  std::map<std::string, const SafetensorsFile*> shards;
  for (const auto& [name, shard] : weight_map.value().items()) {
    if (!shard.is_string() || !IsPlainFileName(shard.get<std::string>())) {
      return weight_map.Error(name.c_str(),
                              absl::StrCat("is ", ShortDump(shard), "; it must be a file name"));
    }
    const std::string file_name = shard.get<std::string>();
    const SafetensorsFile*& file = shards[file_name];
    if (file == nullptr) {
      ASSIGN_OR_RETURN(auto opened, SafetensorsFile::Open(absl::StrCat(folder_, "/", file_name)));
      file = opened.get();
      files_.push_back(std::move(opened));
    }
    const auto tensor = file->tensors().find(name);
    if (tensor == file->tensors().end()) {
      return absl::InvalidArgumentError(absl::StrCat(index_path, ": tensor \"", name,
                                                     "\" is not in ", file->path(),
                                                     ", where the index says it is"));
    }
    tensors_.emplace(name, tensor->second);
  }
  return absl::OkStatus();
}

}  // namespace reprise::engine
