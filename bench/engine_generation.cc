#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "bench/engine_rows.h"
#include "bench/memory_bandwidth.h"
#include "bench/plain_products.h"
#include "bench/rounds.h"
#include "bench/synthetic.h"
#include "cachestore/base/status_macros.h"
#include "engine/engine_options.h"

namespace reprise::bench {
namespace {

// Prompts of `length` tokens, all different.
std::vector<std::vector<uint32_t>> Prompts(const EngineContest& contest, int count,
                                           int64_t length) {
  const auto vocab_size = static_cast<uint32_t>(contest.model->config().vocab_size);
  std::vector<std::vector<uint32_t>> prompts;
  for (int i = 0; i < count; ++i) {
    prompts.push_back(SyntheticTokens(static_cast<uint64_t>(i), length));
    for (uint32_t& token : prompts.back()) token %= vocab_size;
  }
  return prompts;
}

// Tokens at the same places in both.
int64_t Agreeing(const Decoded& a, const Decoded& b) {
  int64_t count = 0;
  for (size_t i = 0; i < a.tokens.size(); ++i) count += a.tokens[i] == b.tokens[i] ? 1 : 0;
  return count;
}

// Shows that a peer computes the same: with f32 weights its greedy tokens are ours. (With bf16
// weights each rounds activations in other places.)
absl::Status CheckSame(const EngineContest& contest, const Decoder& peer, const Decoded& ours,
                       const Decoded& theirs) {
  if (contest.bench_model.options.dtype != engine::ElementType::kF32) return absl::OkStatus();
  if (ours.tokens == theirs.tokens) return absl::OkStatus();
  return absl::InternalError(absl::StrCat(contest.bench_model.name, ": only ",
                                          Agreeing(ours, theirs), " of ", ours.tokens.size(),
                                          " greedy tokens of ", peer.name(), " are ours"));
}

// Computes `prompts` by everyone and compares the first tokens.
absl::Status PromptAll(EngineContest& contest, const std::vector<std::vector<uint32_t>>& prompts) {
  ASSIGN_OR_RETURN(const Decoded ours, contest.ours->Prompt(prompts));
  for (const std::unique_ptr<Decoder>& peer : contest.peers) {
    ASSIGN_OR_RETURN(const Decoded theirs, peer->Prompt(prompts));
    RETURN_IF_ERROR(CheckSame(contest, *peer, ours, theirs));
  }
  return absl::OkStatus();
}

// Figures of rounds in which ours came first, then the peers.
std::vector<double> PeersOf(const EngineContest& contest, const std::vector<double>& figures) {
  return {figures.begin() + 1, figures.begin() + 1 + static_cast<int64_t>(contest.peers.size())};
}

}  // namespace

absl::StatusOr<std::vector<Result>> MeasurePrefill(EngineContest& contest, Extent extent) {
  const int64_t length = ByExtent<int64_t>(extent, 64, 2048);
  const std::vector<std::vector<uint32_t>> prompts = Prompts(contest, 1, length);
  RETURN_IF_ERROR(PromptAll(contest, prompts));
  std::vector<Arm> arms;
  const auto add = [&](Decoder* decoder) {
    arms.push_back({decoder->name(), [&prompts, length, decoder]() -> absl::StatusOr<double> {
                      ASSIGN_OR_RETURN(const Decoded decoded, decoder->Prompt(prompts));
                      return static_cast<double>(length) / decoded.seconds;
                    }});
  };
  add(contest.ours.get());
  for (const std::unique_ptr<Decoder>& peer : contest.peers) add(peer.get());
  const engine::ModelConfig& config = contest.model->config();
  constexpr int kLayers = 4;  // of weights in memory; all layers cost the same
  const int64_t chunk = engine::EngineOptions().step_tokens;
  PlainProducts products(LayerProducts(config), kLayers, contest.bench_model.options.dtype, chunk,
                         contest.num_threads);
  arms.push_back({"oneDNN", [&]() -> absl::StatusOr<double> {
                    const double seconds = SecondsOf([&] { products.Run(); });
                    return static_cast<double>(chunk * kLayers) / seconds /
                           static_cast<double>(config.num_layers);
                  }});
  ASSIGN_OR_RETURN(const std::vector<double> rates,
                   MedianOfRounds(absl::StrCat("prefill ", contest.bench_model.name),
                                  ByExtent(extent, 1, 3), arms));
  Result row = EngineRow(contest, "prefill.tokens_per_s", "tokens/s");
  row.ours = rates[0];
  row.limit = rates.back();
  SetPeers(contest, PeersOf(contest, rates), &row);
  row.goal = Goal{Goal::Of::kOursOverPeer, Goal::Bound::kAtLeast, 1.2};
  row.context["limit"] = "the layers' products alone, by oneDNN alone, 512 rows a call";
  row.context["prompt_tokens"] = absl::StrCat(length);
  return std::vector<Result>{std::move(row)};
}

absl::StatusOr<std::vector<Result>> MeasureDecode(EngineContest& contest, int batch,
                                                  Extent extent) {
  const int64_t length = ByExtent<int64_t>(extent, 32, 1024);
  const int steps = ByExtent(extent, 2, 16);
  const int rounds = ByExtent(extent, 1, 5);
  RETURN_IF_ERROR(PromptAll(contest, Prompts(contest, batch, length)));
  std::vector<Arm> arms;
  std::vector<Decoded> first(contest.peers.size() + 1);  // of each arm's first round
  const auto add = [&](Decoder* decoder) {
    Decoded* const kept = &first[arms.size()];
    arms.push_back({decoder->name(), [=]() -> absl::StatusOr<double> {
                      ASSIGN_OR_RETURN(Decoded decoded, decoder->Decode(steps));
                      const double rate = steps * batch / decoded.seconds;
                      if (kept->tokens.empty()) *kept = std::move(decoded);
                      return rate;
                    }});
  };
  add(contest.ours.get());
  for (const std::unique_ptr<Decoder>& peer : contest.peers) add(peer.get());
  MemoryBandwidth bandwidth(contest.num_threads);
  arms.push_back({"memory", [&]() -> absl::StatusOr<double> {
                    bandwidth.Sample();
                    return bandwidth.BytesPerSecond();
                  }});
  ASSIGN_OR_RETURN(
      const std::vector<double> rates,
      MedianOfRounds(absl::StrCat("decode ", contest.bench_model.name, " x", batch), rounds, arms));

  const double context = static_cast<double>(contest.ours->context()) - 0.5 * rounds * steps;
  const auto weight_bytes =
      static_cast<double>(StepWeightBytes(contest.folder, contest.model->config()));
  const double kv_bytes = context * static_cast<double>(contest.ours->kv_bytes_per_token());
  const double step_bytes = weight_bytes + batch * kv_bytes;
  Result row = EngineRow(contest, absl::StrCat("decode.tokens_per_s_batch_", batch), "tokens/s");
  row.ours = rates[0];
  row.limit = rates.back() / step_bytes * batch;
  SetPeers(contest, PeersOf(contest, rates), &row);
  row.goal = Goal{Goal::Of::kOursOverPeer, Goal::Bound::kAtLeast, 1.2};
  row.context["context_tokens"] = absl::StrCat(context);
  row.context["limit"] = "weights and KV read once a step at the measured memory bandwidth";
  for (size_t i = 0; i < contest.peers.size(); ++i) {
    row.context[absl::StrCat("agreement ", contest.peers[i]->name())] =
        absl::StrCat(Agreeing(first[0], first[i + 1]), " of ", first[0].tokens.size(), " tokens");
  }
  if (batch > 1) return std::vector<Result>{std::move(row)};

  Result fraction = EngineRow(contest, "decode.bandwidth_fraction", "GB/s");
  fraction.ours = rates[0] * step_bytes / 1e9;
  fraction.limit = rates.back() / 1e9;
  fraction.goal = Goal{Goal::Of::kOursOverLimit, Goal::Bound::kAtLeast, 0.85};
  fraction.context["weight_bytes"] = absl::StrCat(weight_bytes);
  fraction.context["kv_bytes"] = absl::StrCat(kv_bytes);
  return std::vector<Result>{std::move(row), std::move(fraction)};
}

}  // namespace reprise::bench
