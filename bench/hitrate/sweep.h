// Sweep: one trace replayed against policies at several capacities, with the bounds.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "bench/hitrate/policies.h"
#include "bench/hitrate/tally.h"
#include "cachestore/trace/trace.h"

namespace reprise::bench {

// The capacities that are pooled, in percent of a trace's blocks.
inline constexpr double kPooledPercents[] = {0.5, 1, 2, 5, 10, 20};
bool IsPooled(double percent);

struct SweepCell {
  Tally tally;
  double seconds = 0;        // of CPU time, for the replay
  double index_seconds = 0;  // of these, not in the policy; 0: not measured
  // What LRU needs for as many block hits, over this capacity; nullopt: it never has them.
  std::optional<double> lru_memory;
};

struct Sweep {
  struct Line {
    std::string policy;
    std::vector<SweepCell> cells;  // by capacity
  };

  // Ratio of block hits.
  double LruRatio(size_t capacity) const {
    return static_cast<double>(lru_hits[capacity]) / static_cast<double>(infinite.blocks);
  }

  std::string trace;
  bool is_chat = false;             // see IsChat
  bool is_agent = false;            // see IsAgent
  int64_t num_blocks = 0;           // different ones
  std::vector<double> percents;     // capacities, of the trace's blocks, ascending
  std::vector<int64_t> capacities;  // the same in blocks, at least one
  std::vector<Line> lines;          // by policy
  std::vector<int64_t> lru_hits;    // by capacity: block hits of LRU, by LruCurve
  std::vector<Tally> optimum;       // by capacity
  std::vector<double> cost_bound;   // by capacity: of Tally::cost_ratio
  Tally infinite;
  Tally infinite_of_tokens;  // see InfiniteCacheOfTokens
};

// Whether most requests are of chats, or of no known type; of agents.
bool IsChat(const cachestore::Trace& trace);
bool IsAgent(const cachestore::Trace& trace);

// CPU time of this thread: what else the machine does counts little.
double CpuSeconds();

// Tells what comes next: "<trace>, <policy>, <percent> %".
using SweepStep = std::function<void(const std::string& what)>;

// Capacities of one trace: `percents` of its different blocks, and `blocks`.
std::vector<double> PercentsOf(const std::vector<double>& percents,
                               const std::vector<int64_t>& blocks, size_t num_blocks);

// Replays everything; calls `step` before each replay. BLOCKS. REQUIRES: the trace has blocks.
Sweep RunSweep(const cachestore::Trace& trace, const std::vector<ReplayPolicy>& policies,
               const std::vector<double>& percents, MakeRoom make_room, const SweepStep& step);

}  // namespace reprise::bench
