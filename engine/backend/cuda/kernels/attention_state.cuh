// The online softmax of one (row, head) over some of its positions, in base 2:
//     state [head_dim + 2] f32 = sum of 2^(s - m) v [head_dim], m (largest score), sum of 2^(s - m)
// States over disjoint positions merge in any grouping to the softmax over all of them; they are
// merged in their order, so the bits depend on how positions were cut and on nothing else.
#pragma once

#include "engine/backend/cuda/kernels/device_code.h"

namespace reprise::engine::cuda {

// Floats of a state.
REPRISE_DEVICE int StateFloats(int head_dim) { return head_dim + 2; }

// One element of the state of all positions.
struct MergedElement {
  float largest;
  float sum;  // of the element
  float weight;
};

// Element c of `pieces` states, `stride` floats from one to the next. They may have been written by
// other blocks of this launch.
REPRISE_DEVICE MergedElement MergeElement(const float* states, int64_t stride, int pieces,
                                          int head_dim, int c) {
  MergedElement merged = {-kInfinity, 0, 0};
  for (int i = 0; i < pieces; ++i) {
    merged.largest = Max(merged.largest, LoadFresh(states + i * stride + head_dim));
  }
  for (int i = 0; i < pieces; ++i) {
    const float* state = states + i * stride;
    const float factor = PowerOf2(LoadFresh(state + head_dim) - merged.largest);
    merged.sum += factor * LoadFresh(state + c);
    merged.weight += factor * LoadFresh(state + head_dim + 1);
  }
  return merged;
}

// Where heads go whose positions have all been seen: to the output f32 [heads][head_dim], or, where
// `out` is null because others see more positions, to states [heads][head_dim + 2].
struct HeadsPlace {
  float* out;
  float* states;
};

REPRISE_DEVICE void StoreElement(const MergedElement& merged, const HeadsPlace& place, int64_t head,
                                 int head_dim, int c) {
  if (place.out != nullptr) {
    place.out[head * head_dim + c] = merged.sum / merged.weight;
    return;
  }
  float* state = place.states + head * StateFloats(head_dim);
  state[c] = merged.sum;
  if (c == 0) {
    state[head_dim] = merged.largest;
    state[head_dim + 1] = merged.weight;
  }
}

// Whether this block is the last of `blocks` to come here; then all that the others wrote before
// can be read, and the counter is 0 again. By all threads that `sync` is a barrier of, thread 0
// among them.
template <typename Sync>
REPRISE_DEVICE bool IsLastToArrive(uint32_t* counter, int blocks, const Shared<int>& is_last,
                                   const Sync& sync) {
  FenceDevice();
  sync();
  if (ThreadInBlock() == 0) {
    is_last[0] = AtomicIncrement(counter) + 1 == static_cast<uint32_t>(blocks);
    if (is_last[0] != 0) *counter = 0;
  }
  sync();
  FenceDevice();
  return is_last[0] != 0;
}
// By all threads of the block.
REPRISE_DEVICE bool IsLastToArrive(uint32_t* counter, int blocks, const Shared<int>& is_last) {
  return IsLastToArrive(counter, blocks, is_last, [] { SyncBlock(); });
}

}  // namespace reprise::engine::cuda
