// Draws a token from each row of logits: greedy, or at a temperature from what top-k, top-p and
// min-p leave. The token that engine/run/token_draw.h draws by the same random number; rows with
// biases, penalties or log probabilities are the host's.
//
//     logits  f32 [rows, vocab], vocab up to 2^19; tokens i32 [rows]
//
// A block to a row. Bytes: 4 vocab a pass, from L2 after the first. One pass finds the largest; a
// plain draw takes two more, top-p and min-p 8 to 14, top-k 6 more. Operations: about 25 an element
// and pass that weighs, 10 otherwise. For 128 Ki tokens a pass is some 10 us, and rows do not wait
// for each other.
//
// Weights are exp((logit - largest) / temperature), in f32 as the host's vectors compute it, or
// with top-k in f64, as its scalar code; as whole numbers of 2^-44. So sums are exact, a row's
// token does not depend on the order of threads, and weights below 2^-44 are never drawn. The
// host's sums are rounded to f32 here and there: where the random number is within 1e-6 of where
// one token follows the other, it may choose the other.
#pragma once

#include "engine/backend/cuda/kernels/sample_search.cuh"

namespace reprise::engine::cuda {

// exp(x) of x <= 0, bit for bit as Highway's Exp with fused multiply-adds: within 1 unit in the
// last place.
REPRISE_DEVICE float ExpOfNegative(float x) {
  if (!(x >= -104.0f)) return 0.0f;
  const int q = static_cast<int>(FmaRn(x, 1.44269504f, x < 0 ? -0.5f : 0.5f));
  const auto whole = static_cast<float>(q);
  const float r = FmaRn(whole, -1.428606765330187045e-6f, FmaRn(whole, -0.693145751953125f, x));
  const float r2 = MulRn(r, r);
  const float high = FmaRn(0.000198527617612853646278381f, r, 0.00139304355252534151077271f);
  const float middle = FmaRn(0.00833336077630519866943359f, r, 0.0416664853692054748535156f);
  const float low = FmaRn(0.166666671633720397949219f, r, 0.5f);
  const float poly = FmaRn(MulRn(r2, r2), high, FmaRn(r2, middle, low));
  const float power = AddRn(FmaRn(poly, r2, r), 1.0f);
  const auto power_of_2 = [](int e) { return FloatOf(static_cast<uint32_t>(e + 127) << 23); };
  return MulRn(MulRn(power, power_of_2(q >> 1)), power_of_2(q - (q >> 1)));
}

// What tokens weigh, relative to the largest logit's, which is 1.
struct SampleWeights {
  float temperature;
  float inverse_temperature;  // finite
  bool is_f64;

  REPRISE_DEVICE double Of(const SampleLogits& logits, int token) const {
    if (is_f64) {
      const double below = static_cast<double>(logits.at[token]) - logits.largest;
      return Exp(below / static_cast<double>(temperature));
    }
    return ExpOfNegative(MulRn(SubRn(logits.at[token], logits.largest), inverse_temperature));
  }
};

REPRISE_DEVICE uint64_t UnitsOf(double weight) { return static_cast<uint64_t>(weight * 0x1p44); }

struct LargestFound {
  float logit;
  int token;  // the lowest that has it
  bool is_usable;
};

// By all threads.
REPRISE_DEVICE LargestFound FindLargest(const float* logits, int vocab) {
  const Shared<float> values(SharedBase() + (kSampleBins + kLanes + 2) * 8);
  const Shared<int> tokens(SharedBase() + (kSampleBins + kLanes + 2) * 8 + kSampleWarps * 4);
  const Shared<int> usable(SharedBase() + (kSampleBins + kLanes + 2) * 8 + 2 * kSampleWarps * 4);
  LargestFound best = {-kInfinity, vocab, true};
  const auto take = [&](float logit, int token) {
    if (logit > best.logit || (logit == best.logit && token < best.token)) {
      best.logit = logit;
      best.token = token;
    }
  };
  for (int i = ThreadInBlock(); i < vocab; i += ThreadsInBlock()) {
    const float logit = logits[i];
    best.is_usable = best.is_usable && logit < kInfinity;  // false for NaN, too
    take(logit, i);
  }
  for (int mask = kLanes / 2; mask > 0; mask /= 2) {
    const float logit = ShuffleXor(best.logit, mask);
    take(logit, ShuffleXor(best.token, mask));
    const int other = ShuffleXor(best.is_usable ? 1 : 0, mask);
    best.is_usable = best.is_usable && other != 0;
  }
  if (Lane() == 0) {
    values[WarpInBlock()] = best.logit;
    tokens[WarpInBlock()] = best.token;
    usable[WarpInBlock()] = best.is_usable ? 1 : 0;
  }
  SyncBlock();
  for (int w = 0; w < ThreadsInBlock() / kLanes; ++w) {
    take(values[w], tokens[w]);
    best.is_usable = best.is_usable && usable[w] != 0;
  }
  best.is_usable = best.is_usable && best.logit > -kInfinity;
  return best;
}

// Of the weights of all tokens of a row: their sum, and that of those which are at least min_p.
struct WeightSums {
  uint64_t all;
  uint64_t kept;
};

template <typename Weigh>
REPRISE_DEVICE WeightSums SumWeights(int vocab, const Weigh& weigh, float min_p) {
  WeightSums sums = {0, 0};
  for (int i = ThreadInBlock(); i < vocab; i += ThreadsInBlock()) {
    const double weight = weigh(i);
    sums.all += UnitsOf(weight);
    if (weight >= static_cast<double>(min_p)) sums.kept += UnitsOf(weight);
  }
  ClearBins();
  AddToBin(WarpInBlock(), sums.all);
  AddToBin(kSampleWarps + WarpInBlock(), sums.kept);
  SyncBlock();
  sums = {0, 0};
  for (int w = 0; w < ThreadsInBlock() / kLanes; ++w) {
    sums.all += SampleBins()[w];
    sums.kept += SampleBins()[kSampleWarps + w];
  }
  SyncBlock();
  return sums;
}

// The first sum that is above share `uniform` of `sum`.
REPRISE_DEVICE uint64_t SumAbove(double uniform, uint64_t sum) {
  const auto passed = static_cast<uint64_t>(uniform * static_cast<double>(sum));
  return (passed < sum ? passed : sum - 1) + 1;
}

// The first sum, up to `most`, that is at least share `share` of `sum`.
REPRISE_DEVICE uint64_t SumFrom(float share, uint64_t sum, uint64_t most) {
  const double exact = static_cast<double>(share) * static_cast<double>(sum);
  auto wanted = static_cast<uint64_t>(exact);
  if (static_cast<double>(wanted) < exact || wanted == 0) ++wanted;
  return wanted < most ? wanted : most;
}

// A token at a temperature above 0. By all threads.
REPRISE_DEVICE int DrawToken(const SampleRow& row, const SampleLogits& logits) {
  const int vocab = logits.vocab;
  const bool has_top_k = row.top_k > 0 && row.top_k < vocab;
  const float inverse = Min(DivRn(1.0f, row.temperature), kLargestFloat);
  const SampleWeights weights = {row.temperature, inverse, has_top_k};
  uint32_t last_key = 0xFFFFFFFFu;  // of what top-k leaves
  int last_token = vocab;
  if (has_top_k) {
    const auto count = [](int) { return uint64_t{1}; };
    last_token = FindByRank(logits, count, static_cast<uint64_t>(row.top_k)).token;
    last_key = logits.KeyOf(last_token);
  }
  const auto weigh = [&](int i) {
    const uint32_t key = logits.KeyOf(i);
    if (key > last_key || (key == last_key && i > last_token)) return 0.0;
    return weights.Of(logits, i);
  };
  const auto units = [&](int i) { return UnitsOf(weigh(i)); };
  // What min-p and top-p leave are the first of the same ranks, so the shorter of the two counts;
  // and what comes behind does not change which token a sum is reached at.
  const WeightSums sums = SumWeights(vocab, weigh, row.min_p);
  uint64_t kept = sums.kept;
  if (!has_top_k && row.top_p == 1 && row.min_p == 0) {
    return FindByToken(vocab, units, SumAbove(row.uniform, kept)).token;
  }
  if (row.top_p < 1) kept = FindByRank(logits, units, SumFrom(row.top_p, sums.all, kept)).sum;
  return FindByRank(logits, units, SumAbove(row.uniform, kept)).token;
}

// The kernel. Block b draws for rows[b].
REPRISE_DEVICE void SampleBlock(const SampleParams& params) {
  const SampleRow row = params.rows[BlockX()];
  const float* at = params.logits + static_cast<int64_t>(row.row) * params.vocab;
  const LargestFound largest = FindLargest(at, params.vocab);
  int token = largest.is_usable ? largest.token : kNoToken;
  if (largest.is_usable && row.temperature > 0) {
    // Eight bins to a factor of e between weights: those of the last bin are below e^-31.
    const float bins = Min(DivRn(8.0f, row.temperature), kLargestFloat);
    token = DrawToken(row, {at, params.vocab, largest.logit, bins});
  }
  if (ThreadInBlock() == 0) params.tokens[BlockX()] = token;
}

}  // namespace reprise::engine::cuda
