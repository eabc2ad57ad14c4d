// The shapes of the probes of hopper_probe.cuh, and how they are run on a card.
#pragma once

#include <cstdint>

namespace reprise::engine::cuda {

// The tensor that boxes are of, and the box.
inline constexpr int kProbeRows = 64;
inline constexpr int kProbeColumns = 128;
inline constexpr int kProbeBoxRow = 24;
inline constexpr int kProbeBoxColumn = 64;
inline constexpr int kProbeBoxRows = 16;

// Shared memory of any of them.
inline constexpr int kProbeSharedBytes = 32 * 1024;

enum class HopperProbe { kBox, kProductOfRows, kProductOfColumns };

// Runs `probe` on the current card over host memory: the operands and out as hopper_probe.cuh says,
// of `in_bytes`, `in_b_bytes` (0: none) and `out_bytes`. Empty, or what the CUDA runtime said.
// BLOCKS.
const char* RunHopperProbe(HopperProbe probe, const void* in, int64_t in_bytes, const void* in_b,
                           int64_t in_b_bytes, void* out, int64_t out_bytes);

}  // namespace reprise::engine::cuda
