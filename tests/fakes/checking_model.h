// CheckingModel: a model without weights that proves KV right or wrong, byte for byte.
//
// The KV of a position is a function of its token, its position and the KV of the position before,
// spread over every layer, part, head and dim. Each forward pass checks all KV it is given against
// that function, and derives its logits from every byte of it: one wrong byte anywhere is counted
// and changes the output. ReferenceAnswer() gives the right output without any store or scheduler.
//
// Forward() is for one thread at a time; the counters may be read from any.
#pragma once

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <functional>
#include <iterator>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "engine/model/model.h"

namespace reprise::engine {

class CheckingModel : public Model {
 public:
  // Tokens that make Forward() misbehave for the sequences that hold them.
  static constexpr uint32_t kVocabSize = 97;
  static constexpr uint32_t kNanToken = 95;   // logits after it are NaN
  static constexpr uint32_t kFailToken = 96;  // the pass that computes it fails

  explicit CheckingModel(int64_t max_positions) {
    config_.architecture = "CheckingModel";
    config_.vocab_size = kVocabSize;
    config_.num_layers = 2;
    config_.num_kv_heads = 2;
    config_.head_dim = 16;
    config_.max_positions = max_positions;
  }

  const ModelConfig& config() const override { return config_; }
  ModelConfig* mutable_config() { return &config_; }
  const std::string& digest() const override { return digest_; }
  cachestore::KvLayout layout(int32_t block_tokens) const override {
    return {.num_layers = 2,
            .num_kv_heads = 2,
            .head_dim = 16,
            .block_tokens = block_tokens,
            .dtype = cachestore::DType::kF32};
  }
  std::string position_scheme() const override { return "checking"; }

  // Positions that were given with wrong KV, over all passes.
  int64_t wrong_positions() const { return wrong_positions_; }
  // Positions whose KV was read that the same pass did not write.
  int64_t read_positions() const { return read_positions_; }
  int64_t computed_tokens() const { return computed_tokens_; }
  int64_t passes() const { return passes_; }

  // Called before a layer of an arriving prefix is awaited.
  void OnAwait(std::function<void(int32_t layer)> callback) { on_await_ = std::move(callback); }
  // The next time the KV of `position` is written, one byte of it is wrong.
  void CorruptNextWriteOf(int64_t position) { corrupt_position_ = position; }

  // The logits lie in host memory.
  absl::StatusOr<Activations> Forward(absl::Span<const SequenceChunk> chunks,
                                      const cachestore::KvLayout& layout) override {
    ++passes_;
    for (const SequenceChunk& chunk : chunks) {
      for (uint32_t token : chunk.tokens) {
        if (token == kFailToken) return absl::InternalError("the pass was told to fail");
      }
    }
    for (int32_t layer = 0; layer < config_.num_layers; ++layer) {
      for (const SequenceChunk& chunk : chunks) {
        if (chunk.arrival == nullptr) continue;
        if (on_await_) on_await_(layer);
        if (absl::Status status = chunk.arrival->AwaitLayer(layer); !status.ok()) return status;
      }
    }
    logits_.clear();
    for (const SequenceChunk& chunk : chunks) {
      const uint64_t content = Compute(chunk, layout);
      if (!chunk.wants_logits) continue;
      logits_.resize(logits_.size() + kVocabSize);
      const absl::Span<float> out = absl::MakeSpan(logits_).last(kVocabSize);
      for (uint32_t v = 0; v < kVocabSize; ++v) {
        out[v] = static_cast<float>(Mix(content + v) >> 40) * 0x1.0p-21f;  // [0, 8)
      }
      // Answers never hold the two special tokens, so that only prompts misbehave.
      out[kNanToken] = out[kFailToken] = -1;
      if (chunk.tokens.back() == kNanToken) out[0] = std::numeric_limits<float>::quiet_NaN();
    }
    return Activations{logits_.data(), std::ssize(logits_) / kVocabSize, kVocabSize};
  }

 private:
  using Row = std::vector<uint32_t>;

  static uint64_t Mix(uint64_t x) {
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
  }
  static uint64_t NextState(uint64_t state, uint32_t token, int64_t position) {
    return Mix(state ^ Mix((static_cast<uint64_t>(token) << 32) + position + 1));
  }

  // All elements of a position: element 0 is the token, 1 and 2 the state, the others follow.
  static Row ExpectedRow(uint64_t state, uint32_t token, size_t num_elements) {
    Row row(num_elements);
    for (size_t i = 0; i < num_elements; ++i) row[i] = static_cast<uint32_t>(Mix(state + i));
    row[0] = token;
    row[1] = static_cast<uint32_t>(state);
    row[2] = static_cast<uint32_t>(state >> 32);
    return row;
  }

  // Calls fn(place, element index) for every element of `position`.
  template <typename Fn>
  static void ForEachElement(const SequenceChunk& chunk, const cachestore::KvLayout& layout,
                             int64_t position, Fn fn) {
    std::byte* block = chunk.blocks[position / layout.block_tokens];
    const int64_t offset = position % layout.block_tokens;
    size_t index = 0;
    for (int32_t layer = 0; layer < layout.num_layers; ++layer) {
      for (int32_t which = 0; which < 2; ++which) {
        for (int32_t head = 0; head < layout.num_kv_heads; ++head) {
          for (int32_t dim = 0; dim < layout.head_dim; ++dim) {
            const int64_t element =
                (head * int64_t{layout.block_tokens} + offset) * layout.head_dim + dim;
            fn(block + layout.PartOffset(layer, which) + element * 4, index++);
          }
        }
      }
    }
  }

  static Row ReadRow(const SequenceChunk& chunk, const cachestore::KvLayout& layout,
                     int64_t position) {
    Row row(2 * layout.num_layers * layout.num_kv_heads * layout.head_dim);
    ForEachElement(chunk, layout, position,
                   [&](const std::byte* place, size_t i) { std::memcpy(&row[i], place, 4); });
    return row;
  }

  // Checks what is there, writes what is new; returns a digest of all KV up to the chunk's end.
  uint64_t Compute(const SequenceChunk& chunk, const cachestore::KvLayout& layout) {
    uint64_t state = 0;
    uint64_t content = 0;
    const int64_t end = chunk.start + static_cast<int64_t>(chunk.tokens.size());
    for (int64_t position = 0; position < end; ++position) {
      if (position >= chunk.start) {
        WriteRow(chunk, layout, position,
                 NextState(state, chunk.tokens[position - chunk.start], position));
      } else {
        ++read_positions_;
      }
      const Row row = ReadRow(chunk, layout, position);
      const uint64_t expected = NextState(state, row[0], position);
      if (position < chunk.start && row != ExpectedRow(expected, row[0], row.size())) {
        ++wrong_positions_;
      }
      state = (static_cast<uint64_t>(row[2]) << 32) | row[1];
      for (uint32_t element : row) content = Mix(content ^ element) + 1;
    }
    computed_tokens_ += static_cast<int64_t>(chunk.tokens.size());
    return content;
  }

  void WriteRow(const SequenceChunk& chunk, const cachestore::KvLayout& layout, int64_t position,
                uint64_t state) {
    Row row = ExpectedRow(state, chunk.tokens[position - chunk.start],
                          2 * layout.num_layers * layout.num_kv_heads * layout.head_dim);
    int64_t corrupt = position;
    if (corrupt_position_.compare_exchange_strong(corrupt, -1)) row.back() ^= 1;
    ForEachElement(chunk, layout, position,
                   [&](std::byte* place, size_t i) { std::memcpy(place, &row[i], 4); });
  }

  ModelConfig config_;
  std::vector<float> logits_;
  std::function<void(int32_t)> on_await_;
  const std::string digest_ = "checking-model";
  std::atomic<int64_t> wrong_positions_{0};
  std::atomic<int64_t> read_positions_{0};
  std::atomic<int64_t> computed_tokens_{0};
  std::atomic<int64_t> passes_{0};
  std::atomic<int64_t> corrupt_position_{-1};
};

// Greedy choice: the first of the largest.
inline uint32_t LargestLogit(absl::Span<const float> logits) {
  return static_cast<uint32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

// The token of the `n`-th largest logit, from 0: another deterministic choice for each n.
inline uint32_t NthLargestLogit(absl::Span<const float> logits, uint64_t n) {
  std::vector<uint32_t> tokens(logits.size());
  std::iota(tokens.begin(), tokens.end(), 0u);
  std::stable_sort(tokens.begin(), tokens.end(),
                   [&](uint32_t a, uint32_t b) { return logits[a] > logits[b]; });
  return tokens.at(n);
}

// The right greedy answer of `n` tokens: every token by one pass over the whole text, in blocks
// that nobody else sees.
inline std::vector<uint32_t> ReferenceAnswer(const std::vector<uint32_t>& prompt, int64_t n,
                                             int32_t block_tokens) {
  CheckingModel model(1 << 20);
  const cachestore::KvLayout layout = model.layout(block_tokens);
  std::vector<uint32_t> tokens = prompt;
  for (int64_t i = 0; i < n; ++i) {
    const size_t num_blocks = (tokens.size() + block_tokens - 1) / block_tokens;
    std::vector<std::vector<std::byte>> memory(num_blocks,
                                               std::vector<std::byte>(layout.BytesPerBlock()));
    std::vector<std::byte*> blocks;
    for (auto& block : memory) blocks.push_back(block.data());
    const SequenceChunk chunk{tokens, 0, blocks, true};
    const absl::StatusOr<Activations> logits = model.Forward({&chunk, 1}, layout);
    if (!logits.ok()) return {};
    tokens.push_back(LargestLogit({logits->data, CheckingModel::kVocabSize}));
  }
  return std::vector<uint32_t>(tokens.begin() + prompt.size(), tokens.end());
}

}  // namespace reprise::engine
