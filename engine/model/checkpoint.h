// Checkpoint: the tensors of a model folder, whether they lie in model.safetensors or in the shards
// that model.safetensors.index.json names; or tensors in memory. Owns the mappings. Immutable after
// opening, thread-safe.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/model/safetensors.h"

namespace reprise::engine {

class Checkpoint {
 public:
  // kNotFound: no weights in the folder, or a shard is missing; kInvalidArgument: a malformed file,
  // or a shard without a tensor that the index says it has.
  static absl::StatusOr<Checkpoint> Open(const std::string& folder);

  // Of tensors that lie in memory and outlive it; `name` takes the folder's place.
  static Checkpoint Of(std::string name, std::map<std::string, StoredTensor> tensors) {
    Checkpoint checkpoint(std::move(name));
    checkpoint.tensors_ = std::move(tensors);
    return checkpoint;
  }

  // nullptr when there is none of that name.
  const StoredTensor* Find(const std::string& name) const;
  // Every tensor, in name order; the views live as long as the checkpoint.
  const std::map<std::string, StoredTensor>& tensors() const { return tensors_; }
  // The folder, for errors.
  const std::string& folder() const { return folder_; }

 private:
  explicit Checkpoint(std::string folder) : folder_(std::move(folder)) {}
  absl::Status OpenShards(const std::string& index_path);

  std::string folder_;
  std::vector<std::unique_ptr<SafetensorsFile>> files_;
  std::map<std::string, StoredTensor> tensors_;
};

}  // namespace reprise::engine
