// The weights of a demo model: which tensors there are, and their numbers. A number depends on the
// seed, the tensor's name and its place alone, so tensors can be made in any order and in pieces.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "engine/model/demo_model.h"

namespace reprise::engine {

struct DemoTensor {
  enum class Kind {
    kOnes,    // norm weights
    kNoise,   // uniform, standard deviation `deviation`
    kPaired,  // noise; each odd row is the row before it, negated
    kLmHead,  // noise; each row scaled by how welcome its token is in text
  };
  std::string name;
  std::vector<int64_t> shape;
  Kind kind = Kind::kNoise;
  float deviation = 0;

  int64_t num_elements() const;
};

// Every tensor of the model, in file order. REQUIRES: options.Validate() is OK.
std::vector<DemoTensor> DemoTensors(const DemoModelOptions& options);

// Elements [first, first + out.size()) of `tensor`.
void FillDemoTensor(const DemoTensor& tensor, uint64_t seed, int64_t first, absl::Span<float> out);

}  // namespace reprise::engine
