#include "bench/sampling_bench.h"

#include <cstdint>
#include <random>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "bench/machine.h"
#include "bench/memory_bandwidth.h"
#include "bench/rounds.h"
#include "cachestore/base/status_macros.h"
#include "engine/run/sampler.h"

namespace reprise::bench {
namespace {

using engine::SamplingParams;

constexpr int64_t kVocabSize = 151'936;  // Qwen2.5's
// Of the logits. Flat: the tokens that hold 95 % of the probability are a fifth
// of all.
constexpr float kDeviation = 2.5f;

// Rows of logits, together larger than the caches, and a sequence that they
// follow.
class Rows {
 public:
  Rows(int64_t num_rows, int64_t num_tokens)
      : logits_(static_cast<size_t>(num_rows * kVocabSize)), num_rows_(num_rows) {
    std::mt19937 random(1);
    std::normal_distribution<float> normal(0, kDeviation);
    for (float& logit : logits_) logit = normal(random);
    for (int64_t i = 0; i < num_tokens; ++i) tokens_.push_back(random() % kVocabSize);
  }

  // Seconds a token, of a sequence of `num_tokens`, a tenth of them its answer.
  absl::StatusOr<double> SecondsPerToken(SamplingParams params, size_t num_tokens) {
    const absl::Span<const uint32_t> tokens = absl::MakeConstSpan(tokens_).first(num_tokens);
    const int64_t prompt_tokens = static_cast<int64_t>(num_tokens - num_tokens / 10);
    absl::Status status;
    const double seconds = SecondsOf([&] {
      for (int64_t row = 0; row < num_rows_; ++row) {
        params.seed = static_cast<uint64_t>(row);
        status.Update(sampler_
                          .Sample(params, tokens, prompt_tokens,
                                  absl::MakeSpan(logits_).subspan(row * kVocabSize, kVocabSize))
                          .status());
      }
    });
    RETURN_IF_ERROR(status);
    return seconds / static_cast<double>(num_rows_);
  }

 private:
  std::vector<float> logits_;  // [num_rows, kVocabSize]
  const int64_t num_rows_;
  std::vector<uint32_t> tokens_;
  engine::Sampler sampler_;
};

struct Way {
  std::string name;
  SamplingParams params;
  int64_t num_tokens = 1024;
};

std::vector<Way> Ways(int64_t long_tokens) {
  const SamplingParams penalties = {
      .repetition_penalty = 1.1f, .presence_penalty = 0.5f, .frequency_penalty = 0.5f};
  return {{"greedy", {}},
          {"temperature", {.temperature = 1}},
          {"top_k_50_top_p", {.temperature = 1, .top_k = 50, .top_p = 0.95f}},
          {"top_p", {.temperature = 1, .top_p = 0.95f}},
          {"min_p", {.temperature = 1, .min_p = 0.05f}},
          {"penalties", penalties},
          {"penalties_long_context", penalties, long_tokens},
          {"logprobs_20", {.top_logprobs = 20}}};
}

}  // namespace

absl::StatusOr<std::vector<Result>> RunSamplingBench(Extent extent) {
  const std::vector<Way> ways = Ways(ByExtent<int64_t>(extent, 2048, 32'768));
  Rows rows(ByExtent<int64_t>(extent, 2, 128), 32'768);
  MemoryBandwidth bandwidth(/*num_threads=*/1);
  std::vector<Arm> arms;
  for (const Way& way : ways) {
    arms.push_back({way.name, [&rows, &way, &bandwidth] {
                      bandwidth.Sample();
                      return rows.SecondsPerToken(way.params, static_cast<size_t>(way.num_tokens));
                    }});
  }
  ASSIGN_OR_RETURN(const std::vector<double> seconds,
                   MedianOfRounds("sampling", ByExtent(extent, 1, 7), arms));
  std::vector<Result> results;
  for (size_t i = 0; i < ways.size(); ++i) {
    Result row{.metric = absl::StrCat("sampling.", ways[i].name), .unit = "us"};
    row.ours = seconds[i] * 1e6;
    row.limit = kVocabSize * sizeof(float) / bandwidth.BytesPerSecond() * 1e6;
    row.context = {{"vocabulary", absl::StrCat(kVocabSize)},
                   {"tokens before", absl::StrCat(ways[i].num_tokens)},
                   {"machine", MachineInWords()},
                   {"limit", "reading the logits once at the measured memory bandwidth"}};
    results.push_back(std::move(row));
  }
  return results;
}

}  // namespace reprise::bench
