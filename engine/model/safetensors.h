// SafetensorsFile: one .safetensors file, mapped read-only; tensors are views into the mapping.
//
//     u64 little endian: header bytes | JSON header | data
//     header: {"NAME": {"dtype": "F32", "shape": [..], "data_offsets": [begin, end]}, ...,
//              "__metadata__": {...}}         offsets count from the start of the data
//
// Invariants: every tensor lies inside the file; its byte range is exactly shape x dtype; no two
// tensors overlap. Immutable after opening, thread-safe. The file must not shrink while it is open.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "engine/backend/tensor.h"

namespace reprise::engine {

// A tensor as it lies in a checkpoint. `bytes` may be unaligned; it lives as long as its file.
struct StoredTensor {
  std::string dtype;  // as the header spells it, e.g. "BF16"
  std::vector<int64_t> shape;
  absl::Span<const std::byte> bytes;

  // Product of the shape; 1 for a scalar.
  int64_t num_elements() const;
  // kInvalidArgument: a dtype that weights cannot have; `name` names the tensor in the error.
  absl::StatusOr<ElementType> element_type(const std::string& name) const;
};

// "[2, 3]".
std::string ShapeString(absl::Span<const int64_t> shape);

class SafetensorsFile {
 public:
  // kNotFound: there is no such file; kInvalidArgument: truncated or malformed (the error names the
  // file, the tensor, and the expected and found sizes).
  static absl::StatusOr<std::unique_ptr<SafetensorsFile>> Open(const std::string& path);
  ~SafetensorsFile();
  SafetensorsFile(const SafetensorsFile&) = delete;
  SafetensorsFile& operator=(const SafetensorsFile&) = delete;

  const std::string& path() const { return path_; }
  // By name.
  const std::map<std::string, StoredTensor>& tensors() const { return tensors_; }

 private:
  SafetensorsFile(std::string path, absl::Span<const std::byte> mapping)
      : path_(std::move(path)), mapping_(mapping) {}
  absl::Status ReadHeader();

  const std::string path_;
  const absl::Span<const std::byte> mapping_;  // owned: unmapped by the destructor
  std::map<std::string, StoredTensor> tensors_;
};

}  // namespace reprise::engine
