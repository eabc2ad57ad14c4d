#include "engine/model/demo_weights.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "cachestore/base/hash.h"

namespace reprise::engine {
namespace {

using Kind = DemoTensor::Kind;

// Gains over 1 / sqrt(inputs), chosen so that greedy text depends on its whole context and does not
// settle. Attention scores have a deviation of about kScoreGain^2 and so a few tokens win even
// among thousands: an average over many tokens would be the same for every position, and layer by
// layer all positions would become alike. A token's own embedding is small beside what the layers
// add.
constexpr float kEmbeddingDeviation = 0.5f;
constexpr float kScoreGain = 2.5f;  // query and key
constexpr float kValueGain = 1.0f;
constexpr float kAttentionOutputGain = 0.7f;
constexpr float kMlpInputGain = 2.0f;
constexpr float kMlpOutputGain = 1.5f;
constexpr float kBiasDeviation = 0.1f;
// GPT-2 has query, key and value in one tensor.
constexpr float kFusedGain = 2.0f;
constexpr float kFusedOutputGain = kAttentionOutputGain * kValueGain / kFusedGain;

// The finalizer of SplitMix64: a bijection that spreads every input bit over all output bits.
uint64_t Mix(uint64_t value) {
  value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9ull;
  value = (value ^ (value >> 27)) * 0x94D049BB133111EBull;
  return value ^ (value >> 31);
}

// Letters and spaces are preferred, other printable ASCII is rarer; bytes that are not text,
// special tokens and ids that the tokenizer does not know have logit 0, which is never the largest.
float RowScale(int64_t token) {
  if (token == ' ') return 1.3f;
  if (token >= 'a' && token <= 'z') return 1.0f;
  if (token == '\n' || (token > ' ' && token <= '~')) return 0.6f;
  return 0;
}

// Collects tensors; matrices are given as outputs x inputs and stored in the family's order.
class TensorList {
 public:
  explicit TensorList(const DemoModelOptions& options) : in_out_(options.family == "gpt2") {}

  void Norm(const std::string& name, int64_t size) {
    tensors.push_back({name + ".weight", {size}, Kind::kOnes, 0});
    if (in_out_) Bias(name, size);
  }
  void Bias(const std::string& name, int64_t size) {
    tensors.push_back({name + ".bias", {size}, Kind::kNoise, kBiasDeviation});
  }
  void Table(const std::string& name, int64_t rows, int64_t cols) {
    tensors.push_back({name + ".weight", {rows, cols}, Kind::kNoise, kEmbeddingDeviation});
  }
  void LmHead(int64_t rows, int64_t cols) {
    const float deviation = 1 / std::sqrt(static_cast<float>(cols));
    tensors.push_back({"lm_head.weight", {rows, cols}, Kind::kLmHead, deviation});
  }
  struct Matrix {
    int64_t outputs;
    int64_t inputs;
    float gain;
  };
  void Linear(const std::string& name, Matrix m, Kind kind = Kind::kNoise) {
    const float deviation = m.gain / std::sqrt(static_cast<float>(m.inputs));
    const std::vector<int64_t> shape = in_out_ ? std::vector<int64_t>{m.inputs, m.outputs}
                                               : std::vector<int64_t>{m.outputs, m.inputs};
    tensors.push_back({name + ".weight", shape, kind, deviation});
    if (in_out_) Bias(name, m.outputs);
  }

  std::vector<DemoTensor> tensors;

 private:
  const bool in_out_;  // GPT-2: Conv1D order, and biases everywhere
};

std::vector<DemoTensor> Gpt2Tensors(const DemoModelOptions& o) {
  TensorList list(o);
  const int64_t hidden = o.hidden_size;
  list.Table("transformer.wte", o.vocab_size, hidden);
  list.Table("transformer.wpe", o.max_positions, hidden);
  for (int64_t i = 0; i < o.num_layers; ++i) {
    const std::string layer = absl::StrCat("transformer.h.", i, ".");
    list.Norm(layer + "ln_1", hidden);
    list.Linear(layer + "attn.c_attn", {3 * hidden, hidden, kFusedGain});
    list.Linear(layer + "attn.c_proj", {hidden, hidden, kFusedOutputGain});
    list.Norm(layer + "ln_2", hidden);
    list.Linear(layer + "mlp.c_fc", {o.intermediate_size, hidden, kMlpInputGain});
    // GELU's outputs are positive on average, and what they have in common would drive every
    // position the same way: opposite weights for neighbouring inputs cancel it.
    list.Linear(layer + "mlp.c_proj", {hidden, o.intermediate_size, kMlpOutputGain}, Kind::kPaired);
  }
  list.Norm("transformer.ln_f", hidden);
  list.LmHead(o.vocab_size, hidden);
  return list.tensors;
}

std::vector<DemoTensor> LlamaTensors(const DemoModelOptions& o) {
  TensorList list(o);
  const int64_t hidden = o.hidden_size;
  const int64_t key = hidden / o.num_heads * o.num_kv_heads;
  list.Table("model.embed_tokens", o.vocab_size, hidden);
  for (int64_t i = 0; i < o.num_layers; ++i) {
    const std::string layer = absl::StrCat("model.layers.", i, ".");
    const std::string attention = layer + "self_attn.";
    list.Norm(layer + "input_layernorm", hidden);
    list.Linear(attention + "q_proj", {hidden, hidden, kScoreGain});
    list.Linear(attention + "k_proj", {key, hidden, kScoreGain});
    list.Linear(attention + "v_proj", {key, hidden, kValueGain});
    list.Linear(attention + "o_proj", {hidden, hidden, kAttentionOutputGain});
    if (o.family == "qwen2") {
      list.Bias(attention + "q_proj", hidden);
      list.Bias(attention + "k_proj", key);
      list.Bias(attention + "v_proj", key);
    }
    list.Norm(layer + "post_attention_layernorm", hidden);
    list.Linear(layer + "mlp.gate_proj", {o.intermediate_size, hidden, kMlpInputGain});
    list.Linear(layer + "mlp.up_proj", {o.intermediate_size, hidden, kMlpInputGain});
    list.Linear(layer + "mlp.down_proj", {hidden, o.intermediate_size, kMlpOutputGain});
  }
  list.Norm("model.norm", hidden);
  list.LmHead(o.vocab_size, hidden);
  return list.tensors;
}

}  // namespace

int64_t DemoTensor::num_elements() const {
  int64_t count = 1;
  for (const int64_t size : shape) count *= size;
  return count;
}

std::vector<DemoTensor> DemoTensors(const DemoModelOptions& options) {
  return options.family == "gpt2" ? Gpt2Tensors(options) : LlamaTensors(options);
}

void FillDemoTensor(const DemoTensor& tensor, uint64_t seed, int64_t first, absl::Span<float> out) {
  const uint64_t stream =
      Mix(seed + cachestore::HashBytes64(absl::MakeSpan(
                     reinterpret_cast<const std::byte*>(tensor.name.data()), tensor.name.size())));
  // A uniform number from [-1, 1) has deviation 1 / sqrt(3).
  const float scale = tensor.deviation * std::sqrt(3.0f) / 8388608.0f;
  const int64_t cols = tensor.shape.back();
  for (size_t i = 0; i < out.size(); ++i) {
    int64_t place = first + static_cast<int64_t>(i);
    const bool negated = tensor.kind == Kind::kPaired && place / cols % 2 == 1;
    if (negated) place -= cols;
    // 24 bits, as many as an f32 holds exactly.
    const int32_t bits = static_cast<int32_t>(
        Mix(stream + static_cast<uint64_t>(place) * 0x9E3779B97F4A7C15ull) >> 40);
    out[i] = static_cast<float>(bits - 8388608) * (negated ? -scale : scale);
  }
  if (tensor.kind == Kind::kOnes) {
    for (float& value : out) value = 1;
  } else if (tensor.kind == Kind::kLmHead) {
    for (size_t i = 0; i < out.size(); ++i) {
      out[i] *= RowScale((first + static_cast<int64_t>(i)) / cols);
    }
  }
}

}  // namespace reprise::engine
