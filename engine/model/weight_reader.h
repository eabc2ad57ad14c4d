// WeightReader: takes tensors out of a checkpoint, checked and in the form that the layer code
// uses, and remembers which were taken. Knows no layer. Thread-compatible.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "engine/backend/backend.h"
#include "engine/model/checkpoint.h"

namespace reprise::engine {

// y = x W + bias.
struct Linear {
  std::unique_ptr<PackedWeight> weight;
  KeptTensor bias;  // [1, out], or none
};

// A linear weight of the checkpoint: its parts, the outputs of each, and the inputs they share. The
// parts become one matrix, in this order.
struct LinearShape {
  std::vector<std::string> parts;  // names without ".weight" and ".bias"
  std::vector<int64_t> outputs;    // of each part
  int64_t inputs = 0;
  bool has_bias = false;
};

class WeightReader {
 public:
  // Both must outlive the reader.
  WeightReader(const Checkpoint& checkpoint, Backend* backend)
      : checkpoint_(checkpoint), backend_(backend) {}

  // Each takes tensors. kInvalidArgument: one is missing, or has another shape than asked for, or a
  // dtype that weights cannot have; both are named. Else as Backend::Pack.
  absl::StatusOr<std::vector<float>> TakeVector(const std::string& name, int64_t size);
  absl::StatusOr<KeptTensor> TakeTable(const std::string& name, int64_t rows, int64_t cols);
  absl::StatusOr<Linear> TakeLinear(const LinearShape& shape, WeightOrder order);
  // The head that is the table `embedding_name` [rows, cols]. `name` may be in the checkpoint too,
  // as the same matrix.
  absl::StatusOr<Linear> TakeTiedHead(const std::string& name, const std::string& embedding_name,
                                      int64_t rows, int64_t cols);
  // Numbers that were taken and changed, [1, size]. As Backend::Keep.
  absl::StatusOr<KeptTensor> Keep(absl::Span<const float> values);

  bool Has(const std::string& name) const { return checkpoint_.Find(name) != nullptr; }
  const std::string& folder() const { return checkpoint_.folder(); }
  // The first tensor, in name order, that was not taken and does not end with one of `ignored`;
  // empty when there is none.
  std::string FirstUnused(const std::vector<std::string>& ignored) const;

 private:
  // The tensor, checked; counts as taken from now on.
  absl::StatusOr<const StoredTensor*> Take(const std::string& name,
                                           const std::vector<int64_t>& shape);

  const Checkpoint& checkpoint_;
  Backend* const backend_;
  std::set<std::string> taken_;
};

}  // namespace reprise::engine
