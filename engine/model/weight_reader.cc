#include "engine/model/weight_reader.h"

#include <cstring>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "cachestore/base/status_macros.h"
#include "engine/backend/cpu_elementwise.h"

namespace reprise::engine {
namespace {

// The type in which tensors of these types are kept together.
ElementType KeptType(absl::Span<const StoredTensor* const> parts) {
  for (const StoredTensor* part : parts) {
    if (part->dtype != "BF16") return ElementType::kF32;
  }
  return ElementType::kBF16;
}

// Copies one tensor to `out` as `kept`.
void CopyAs(const StoredTensor& tensor, ElementType kept, std::byte* out) {
  if (kept == ElementType::kBF16) {
    std::memcpy(out, tensor.bytes.data(), tensor.bytes.size());
    return;
  }
  const ElementType stored = tensor.dtype == "F32"    ? ElementType::kF32
                             : tensor.dtype == "BF16" ? ElementType::kBF16
                                                      : ElementType::kF16;
  Widen(tensor.bytes.data(), stored, tensor.num_elements(), reinterpret_cast<float*>(out));
}

// A matrix with its numbers, f32 or bf16, in host memory.
struct OwnedMatrix {
  std::vector<std::byte> bytes;
  TensorView view;
};

// The parts one after the other. A part of [out, in] is whole rows, so this joins their outputs.
OwnedMatrix Join(absl::Span<const StoredTensor* const> parts, int64_t rows, int64_t cols) {
  const ElementType kept = KeptType(parts);
  OwnedMatrix joined;
  joined.bytes.resize(rows * cols * ElementBytes(kept));
  std::byte* out = joined.bytes.data();
  for (const StoredTensor* part : parts) {
    CopyAs(*part, kept, out);
    out += part->num_elements() * ElementBytes(kept);
  }
  joined.view = {joined.bytes.data(), kept, rows, cols};
  return joined;
}

// As Join, but without a copy where the one part can be read in place. `storage` keeps the copy.
TensorView ViewOrJoin(absl::Span<const StoredTensor* const> parts, int64_t rows, int64_t cols,
                      OwnedMatrix* storage) {
  const StoredTensor& first = *parts.front();
  const bool aligned = reinterpret_cast<uintptr_t>(first.bytes.data()) % alignof(float) == 0;
  if (parts.size() == 1 && aligned && first.dtype != "F16") {
    return {first.bytes.data(), KeptType(parts), rows, cols};
  }
  *storage = Join(parts, rows, cols);
  return storage->view;
}

}  // namespace

absl::StatusOr<const StoredTensor*> WeightReader::Take(const std::string& name,
                                                       const std::vector<int64_t>& shape) {
  const StoredTensor* tensor = checkpoint_.Find(name);
  if (tensor == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat(checkpoint_.folder(), ": tensor \"", name,
                                                   "\" is missing; it should be ",
                                                   ShapeString(shape)));
  }
  RETURN_IF_ERROR(tensor->element_type(absl::StrCat(checkpoint_.folder(), ": ", name)).status());
  if (tensor->shape != shape) {
    return absl::InvalidArgumentError(absl::StrCat(checkpoint_.folder(), ": tensor \"", name,
                                                   "\" has shape ", ShapeString(tensor->shape),
                                                   "; config.json makes it ", ShapeString(shape)));
  }
  taken_.insert(name);
  return tensor;
}

absl::StatusOr<std::vector<float>> WeightReader::TakeVector(const std::string& name, int64_t size) {
  ASSIGN_OR_RETURN(const StoredTensor* tensor, Take(name, {size}));
  std::vector<float> values(size);
  CopyAs(*tensor, ElementType::kF32, reinterpret_cast<std::byte*>(values.data()));
  return values;
}

absl::StatusOr<KeptTensor> WeightReader::TakeTable(const std::string& name, int64_t rows,
                                                   int64_t cols) {
  ASSIGN_OR_RETURN(const StoredTensor* tensor, Take(name, {rows, cols}));
  OwnedMatrix storage;
  return backend_->Keep(ViewOrJoin({tensor}, rows, cols, &storage));
}

absl::StatusOr<KeptTensor> WeightReader::Keep(absl::Span<const float> values) {
  return backend_->Keep({values.data(), ElementType::kF32, 1, static_cast<int64_t>(values.size())});
}

absl::StatusOr<Linear> WeightReader::TakeLinear(const LinearShape& shape, WeightOrder order) {
  const bool out_in = order == WeightOrder::kOutIn;
  Linear linear;
  std::vector<const StoredTensor*> parts;
  std::vector<float> biases;
  int64_t outputs = 0;
  for (size_t i = 0; i < shape.parts.size(); ++i) {
    const int64_t out = shape.outputs[i];
    const std::string weight = absl::StrCat(shape.parts[i], ".weight");
    ASSIGN_OR_RETURN(const StoredTensor* part,
                     Take(weight, out_in ? std::vector<int64_t>{out, shape.inputs}
                                         : std::vector<int64_t>{shape.inputs, out}));
    parts.push_back(part);
    outputs += out;
    if (shape.has_bias) {
      ASSIGN_OR_RETURN(const std::vector<float> bias,
                       TakeVector(absl::StrCat(shape.parts[i], ".bias"), out));
      biases.insert(biases.end(), bias.begin(), bias.end());
    }
  }
  OwnedMatrix storage;
  const TensorView view = out_in ? ViewOrJoin(parts, outputs, shape.inputs, &storage)
                                 : ViewOrJoin(parts, shape.inputs, outputs, &storage);
  ASSIGN_OR_RETURN(linear.weight, backend_->Pack(view, order));
  if (!biases.empty()) {
    ASSIGN_OR_RETURN(linear.bias, Keep(biases));
  }
  return linear;
}

absl::StatusOr<Linear> WeightReader::TakeTiedHead(const std::string& name,
                                                  const std::string& embedding_name, int64_t rows,
                                                  int64_t cols) {
  ASSIGN_OR_RETURN(const StoredTensor* original, Take(embedding_name, {rows, cols}));
  // Some checkpoints store the tied matrix twice; two different ones would be two models.
  if (const StoredTensor* copy = checkpoint_.Find(name); copy != nullptr) {
    if (copy->dtype != original->dtype || copy->bytes != original->bytes) {
      return absl::InvalidArgumentError(
          absl::StrCat(folder(), ": tensor \"", name, "\" differs from \"", embedding_name,
                       "\", but config.json says tie_word_embeddings"));
    }
    taken_.insert(name);
  }
  OwnedMatrix storage;
  Linear head;
  ASSIGN_OR_RETURN(head.weight, backend_->Pack(ViewOrJoin({original}, rows, cols, &storage),
                                               WeightOrder::kOutIn));
  return head;
}

std::string WeightReader::FirstUnused(const std::vector<std::string>& ignored) const {
  for (const auto& [name, tensor] : checkpoint_.tensors()) {
    bool known = taken_.count(name) > 0;
    for (const std::string& suffix : ignored) known |= absl::EndsWith(name, suffix);
    if (!known) return absl::StrCat("\"", name, "\" ", ShapeString(tensor.shape));
  }
  return "";
}

}  // namespace reprise::engine
