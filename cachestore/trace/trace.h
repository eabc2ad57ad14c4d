// Trace: the requests of some time, as chains of numbered blocks: what an eviction policy can be
// judged by, without tokens, text or keys. Plain data.
//
// A block number stands for one block and everything before it, so it has one parent. Numbers count
// from 0 in the order of first appearance; a parent's is smaller than its children's.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace reprise::cachestore {

using BlockNumber = uint32_t;
inline constexpr BlockNumber kNoBlockNumber = 0xffffffff;

// Who asked, as far as the caller told. Values are those of the file format.
enum class TraceRequestType : uint8_t { kUnknown, kMain, kSide, kTool, kChat, kApi };
inline constexpr int kNumTraceRequestTypes = 6;

// How the answer ended.
enum class TraceFinish : uint8_t { kUnknown, kToolUse, kEndTurn, kOther };
inline constexpr int kNumTraceFinishes = 4;

struct TraceRequest {
  // Whether its blocks are looked up; else an answer leaves them behind, and they are only stored.
  bool is_lookup() const { return input_tokens > 0; }

  int64_t time_ms = 0;        // since the trace began; never less than that of the request before
  uint32_t input_tokens = 0;  // 0: see is_lookup
  uint32_t output_tokens = 0;
  uint64_t session = 0;  // 0: unknown
  TraceRequestType type = TraceRequestType::kUnknown;
  TraceFinish finish = TraceFinish::kUnknown;
  BlockNumber last = kNoBlockNumber;  // of its chain of blocks; kNoBlockNumber: it has none
};

struct Trace {
  // Adds a block below `parent` (kNoBlockNumber: a first block) and returns its number.
  BlockNumber AddBlock(BlockNumber parent) {
    parents.push_back(parent);
    depths.push_back(parent == kNoBlockNumber ? 0 : depths[parent] + 1);
    return static_cast<BlockNumber>(parents.size() - 1);
  }

  size_t num_blocks() const { return parents.size(); }
  size_t NumBlocksOf(const TraceRequest& request) const {
    return request.last == kNoBlockNumber ? 0 : size_t{depths[request.last]} + 1;
  }
  // The blocks of the request, root first, in place of what `chain` held.
  void ChainOf(const TraceRequest& request, std::vector<BlockNumber>& chain) const {
    chain.resize(NumBlocksOf(request));
    BlockNumber block = request.last;
    for (size_t i = chain.size(); i-- > 0; block = parents[block]) chain[i] = block;
  }

  std::string name;
  int32_t block_tokens = 0;
  std::vector<TraceRequest> requests;  // in the order of their times
  std::vector<BlockNumber> parents;    // by block; kNoBlockNumber for a first block
  std::vector<uint32_t> depths;        // by block: the blocks before it in its chain
};

}  // namespace reprise::cachestore
