// CopyGathered: what one thread of the kernel for small pieces does (cuda/gather_copy.cu). It is
// plain C++ without barriers or shared memory, so that the host's compiler builds the same code for
// the tests.
//
// Operands: a list of at most kMaxGatherRuns runs, each of `num_words` words of 16 bytes from
// `from` to `to`, in device memory or in pinned host memory. Bytes: each word is read once and
// written once; no arithmetic. Floor: bytes / (rate of the link between host and device).
#pragma once

#include <cstdint>

namespace reprise::cachestore {

// What a thread loads or stores at once.
struct alignas(16) GatherWord {
  uint64_t low;
  uint64_t high;
};

struct GatherRun {
  GatherWord* to;
  const GatherWord* from;
  uint64_t num_words;
};

// With their number they fit into a kernel's parameters (32,764 bytes), so that the list needs no
// memory that would have to outlive the call.
inline constexpr uint32_t kMaxGatherRuns = 1024;

struct GatherRuns {
  uint32_t size;
  GatherRun runs[kMaxGatherRuns];
};

// Words that a thread has under way: with kGatherBlocks x kGatherThreads threads 256 KiB are, three
// times what a link of 52 GB/s moves in its latency of 1.5 us. Of a run of 16 KiB a thread has four
// words: half of that.
inline constexpr uint32_t kGatherWordsAhead = 8;
inline constexpr uint32_t kGatherThreads = 256;
// 6 % of the 132 multiprocessors of a H100; the step has the others.
inline constexpr uint32_t kGatherBlocks = 8;

// Thread `thread` of block `block`: block b copies the runs b, b + num_blocks, ..., its threads
// neighbouring words.
constexpr void CopyGathered(const GatherRuns& list, uint32_t block, uint32_t num_blocks,
                            uint32_t thread, uint32_t num_threads) {
  for (uint32_t r = block; r < list.size; r += num_blocks) {
    const GatherRun run = list.runs[r];
    for (uint64_t first = thread; first < run.num_words;
         first += kGatherWordsAhead * uint64_t{num_threads}) {
      GatherWord words[kGatherWordsAhead] = {};
      for (uint32_t i = 0; i < kGatherWordsAhead; ++i) {
        const uint64_t word = first + i * uint64_t{num_threads};
        if (word < run.num_words) words[i] = run.from[word];
      }
      for (uint32_t i = 0; i < kGatherWordsAhead; ++i) {
        const uint64_t word = first + i * uint64_t{num_threads};
        if (word < run.num_words) run.to[word] = words[i];
      }
    }
  }
}

}  // namespace reprise::cachestore
