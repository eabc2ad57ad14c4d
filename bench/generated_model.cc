#include "bench/generated_model.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <utility>
#include <vector>

#include "cachestore/base/status_macros.h"
#include "engine/backend/cpu_elementwise.h"
#include "engine/model/checkpoint.h"
#include "engine/model/decoder_model.h"
#include "engine/model/decoder_weights.h"
#include "engine/model/demo_weights.h"
#include "engine/model/model_config.h"

namespace reprise::bench {
namespace {

using engine::DemoTensor;
using engine::ElementType;
using engine::StoredTensor;

// Matrices begin at places of the numbers that are so many elements apart, in turn.
constexpr int64_t kWindowStep = 4099;
constexpr int64_t kWindows = 61;
// Random numbers that are made; the others repeat them.
constexpr int64_t kMade = 1 << 20;

// `count` numbers of deviation 0.02, as libraries begin to train with.
std::vector<uint16_t> RandomNumbers(int64_t count) {
  const DemoTensor noise = {"numbers", {kMade}, DemoTensor::Kind::kNoise, 0.02f};
  std::vector<float> wide(kMade);
  engine::FillDemoTensor(noise, /*seed=*/1, 0, absl::MakeSpan(wide));
  std::vector<uint16_t> numbers(std::max(count, kMade));
  engine::NarrowToBF16(wide.data(), kMade, numbers.data());
  // A round that is no multiple of a row's length, so that no two rows are alike.
  constexpr int64_t kRound = kMade - 57;
  for (int64_t at = kRound; at < count; at += kRound) {
    std::memcpy(&numbers[at], numbers.data(), std::min(kRound, count - at) * sizeof(uint16_t));
  }
  return numbers;
}

absl::Span<const std::byte> BytesOf(absl::Span<const uint16_t> numbers) {
  return {reinterpret_cast<const std::byte*>(numbers.data()), numbers.size() * sizeof(uint16_t)};
}

}  // namespace

engine::DemoModelOptions LlamaOf8B() {
  engine::DemoModelOptions options;
  options.vocab_size = 128256;
  options.hidden_size = 4096;
  options.num_layers = 32;
  options.num_heads = 32;
  options.num_kv_heads = 8;
  options.intermediate_size = 14336;
  options.max_positions = 131072;
  options.dtype = ElementType::kBF16;
  return options;
}

int64_t GeneratedStepBytes(const engine::DemoModelOptions& options) {
  int64_t elements = 0;
  for (const DemoTensor& tensor : engine::DemoTensors(options)) elements += tensor.num_elements();
  // Of the embeddings a row.
  return 2 * (elements - options.vocab_size * options.hidden_size);
}

absl::StatusOr<std::unique_ptr<engine::Model>> GenerateModel(
    const engine::DemoModelOptions& options, const std::string& folder, engine::Backend* backend) {
  ASSIGN_OR_RETURN(engine::ModelConfig config, engine::ReadModelConfig(folder));
  const std::vector<DemoTensor> tensors = engine::DemoTensors(options);
  int64_t largest = 0;
  for (const DemoTensor& tensor : tensors) largest = std::max(largest, tensor.num_elements());
  const std::vector<uint16_t> numbers = RandomNumbers(largest + kWindows * kWindowStep);
  const std::vector<uint16_t> ones(options.hidden_size, 0x3F80);
  std::map<std::string, StoredTensor> stored;
  int64_t window = 0;
  for (const DemoTensor& tensor : tensors) {
    const auto count = static_cast<size_t>(tensor.num_elements());
    const bool is_ones = tensor.kind == DemoTensor::Kind::kOnes;
    const auto from = absl::MakeConstSpan(is_ones ? ones : numbers)
                          .subspan(is_ones ? 0 : window++ % kWindows * kWindowStep, count);
    stored[tensor.name] = {"BF16", tensor.shape, BytesOf(from)};
  }
  const engine::Checkpoint checkpoint =
      engine::Checkpoint::Of("generated weights", std::move(stored));
  ASSIGN_OR_RETURN(engine::DecoderWeights weights,
                   engine::LoadDecoderWeights(checkpoint, config, backend));
  return std::make_unique<engine::DecoderModel>(std::move(config), "generated", std::move(weights),
                                                backend);
}

}  // namespace reprise::bench
