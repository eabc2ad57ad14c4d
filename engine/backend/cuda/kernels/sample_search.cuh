// Finds where sums over the tokens of a row reach a number: in the order of tokens, or in that of
// ranks, which is by logit, largest first, and by token where logits are equal. What is summed is
// the caller's: a function of the token, of whole numbers, so that no order of summing matters and
// sums are exact. By all threads of a block.
//
// Sums go to kSampleBins bins in shared memory; the bin where they reach the number is cut into
// bins again, until one token is left.
#pragma once

#include "engine/backend/cuda/kernels/device_code.h"
#include "engine/backend/cuda/kernels/sample_params.h"

namespace reprise::engine::cuda {

REPRISE_DEVICE Shared<uint64_t> SampleBins() { return Shared<uint64_t>(SharedBase()); }

REPRISE_DEVICE void ClearBins() {
  if (ThreadInBlock() < kSampleBins) SampleBins()[ThreadInBlock()] = 0;
  SyncBlock();
}

REPRISE_DEVICE void AddToBin(int bin, uint64_t amount) {
  if (amount != 0) AtomicAdd(&SampleBins()[bin], amount);
}

// The bin at which a sum over bins reaches a number, and the sum of those before it.
struct Crossing {
  int bin;
  uint64_t before;
};

// REQUIRES: 0 < wanted <= the sum of all bins.
REPRISE_DEVICE Crossing FindCrossing(uint64_t wanted) {
  constexpr int kEach = kSampleBins / kLanes;
  const Shared<uint64_t> bins = SampleBins();
  const Shared<uint64_t> lanes(SharedBase() + kSampleBins * 8);
  const Shared<uint64_t> found(SharedBase() + (kSampleBins + kLanes) * 8);
  SyncBlock();
  if (WarpInBlock() == 0) {
    uint64_t mine = 0;
    for (int i = 0; i < kEach; ++i) mine += bins[Lane() * kEach + i];
    lanes[Lane()] = mine;
    SyncWarp();
    uint64_t before = 0;
    for (int l = 0; l < Lane(); ++l) before += lanes[l];
    if (before < wanted && wanted - before <= mine) {
      int bin = Lane() * kEach;
      for (; wanted - before > bins[bin]; ++bin) before += bins[bin];
      found[0] = static_cast<uint64_t>(bin);
      found[1] = before;
    }
  }
  SyncBlock();
  return {static_cast<int>(found[0]), found[1]};
}

// A row of logits, the largest of which is `largest`.
struct SampleLogits {
  const float* at;
  int vocab;
  float largest;
  float bins_a_unit;  // of the first, coarse cut: bins to a difference of logits of 1

  // Larger logits are in no later bin.
  REPRISE_DEVICE int BinOf(int token) const {
    const float below = MulRn(SubRn(largest, at[token]), bins_a_unit);
    return static_cast<int>(Min(below, static_cast<float>(kSampleBins - 1)));
  }
  // Larger logits have lower keys; 0 and -0 are equal.
  REPRISE_DEVICE uint32_t KeyOf(int token) const {
    const uint32_t bits = BitsOf(AddRn(at[token], 0.0f));
    return (bits >> 31) != 0 ? bits : bits ^ 0x7FFFFFFFu;
  }
};

// The token at which a sum reaches a number, and the sum up to it, its own part included.
struct TokenFound {
  int token;
  uint64_t sum;
};

// In the order of tokens. REQUIRES: 0 < wanted <= the sum of measure(token) over all tokens.
template <typename Measure>
REPRISE_DEVICE TokenFound FindByToken(int vocab, const Measure& measure, uint64_t wanted) {
  int begin = 0;
  int end = vocab;
  uint64_t before = 0;
  while (end - begin > 1) {
    const int warps = ThreadsInBlock() / kLanes;
    const int part = (end - begin + warps - 1) / warps;
    const int first = begin + WarpInBlock() * part;
    ClearBins();
    uint64_t sum = 0;
    for (int i = first + Lane(); i < first + part && i < end; i += kLanes) sum += measure(i);
    AddToBin(WarpInBlock(), sum);
    const Crossing crossing = FindCrossing(wanted - before);
    before += crossing.before;
    begin += crossing.bin * part;
    if (end > begin + part) end = begin + part;
  }
  return {begin, before + measure(begin)};
}

// In the order of ranks; requires the same. Reads the logits six times.
template <typename Measure>
REPRISE_DEVICE TokenFound FindByRank(const SampleLogits& logits, const Measure& measure,
                                     uint64_t wanted) {
  ClearBins();
  for (int i = ThreadInBlock(); i < logits.vocab; i += ThreadsInBlock()) {
    AddToBin(logits.BinOf(i), measure(i));
  }
  const Crossing coarse = FindCrossing(wanted);
  uint64_t before = coarse.before;
  uint32_t key = 0;  // its upper bits, as far as they are known
  for (int shift = 24; shift >= 0; shift -= 8) {
    ClearBins();
    for (int i = ThreadInBlock(); i < logits.vocab; i += ThreadsInBlock()) {
      if (logits.BinOf(i) != coarse.bin) continue;
      const uint32_t mine = logits.KeyOf(i) >> shift;
      if (mine >> 8 == key) AddToBin(static_cast<int>(mine & 0xFF), measure(i));
    }
    const Crossing crossing = FindCrossing(wanted - before);
    before += crossing.before;
    key = key << 8 | static_cast<uint32_t>(crossing.bin);
  }
  const auto of_key = [&](int i) { return logits.KeyOf(i) == key ? measure(i) : uint64_t{0}; };
  const TokenFound found = FindByToken(logits.vocab, of_key, wanted - before);
  return {found.token, before + found.sum};
}

}  // namespace reprise::engine::cuda
