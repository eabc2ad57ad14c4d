// The published policies, a file each. `num_blocks`: numbers of the trace's blocks are below it;
// `capacity` blocks fit, at least one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "bench/hitrate/baselines/block_policy.h"

namespace reprise::bench {

std::unique_ptr<BlockPolicy> MakeFifo(size_t num_blocks, int64_t capacity);
std::unique_ptr<BlockPolicy> MakeLfu(size_t num_blocks, int64_t capacity);
std::unique_ptr<BlockPolicy> MakeLru2(size_t num_blocks, int64_t capacity);
std::unique_ptr<BlockPolicy> MakeSlru(size_t num_blocks, int64_t capacity);
std::unique_ptr<BlockPolicy> MakeTwoQ(size_t num_blocks, int64_t capacity);
std::unique_ptr<BlockPolicy> MakeArc(size_t num_blocks, int64_t capacity);
std::unique_ptr<BlockPolicy> MakeGdsf(size_t num_blocks, int64_t capacity);
std::unique_ptr<BlockPolicy> MakeWTinyLfu(size_t num_blocks, int64_t capacity);
std::unique_ptr<BlockPolicy> MakeS3Fifo(size_t num_blocks, int64_t capacity);
std::unique_ptr<BlockPolicy> MakeSieve(size_t num_blocks, int64_t capacity);
std::unique_ptr<BlockPolicy> MakeWild(size_t num_blocks, int64_t capacity);

}  // namespace reprise::bench
