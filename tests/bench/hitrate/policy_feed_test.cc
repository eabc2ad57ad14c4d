// What a replay tells a policy, and when.
#include "bench/hitrate/policy_feed.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "bench/hitrate/store_cache.h"
#include "cachestore/policy/lru_policy.h"

namespace reprise::bench {
namespace {

using cachestore::Trace;

// Writes down what it is told.
class Diary : public cachestore::LruPolicy {
 public:
  explicit Diary(std::vector<std::string>* lines) : lines_(lines) {}

  void OnRequest(const cachestore::StoreRequest& request) override {
    lines_->push_back(absl::StrCat(request.time_ms, " ms: request of ", request.prompt_tokens,
                                   " tokens, ", request.matched.size(), " blocks there"));
  }
  void OnRequestEnd(const cachestore::StoreRequestEnd& end) override {
    lines_->push_back(absl::StrCat("end with ", end.keys.size(), " blocks, ", end.end.output_tokens,
                                   " tokens", end.end.hints.session_closed ? ", closed" : ""));
  }

 private:
  std::vector<std::string>* const lines_;
};

TEST(PolicyFeedTest, ARequestIsOverWithWhatItsAnswerLeavesBehind) {
  Trace trace;
  trace.block_tokens = 16;
  const auto prompt = trace.AddBlock(cachestore::kNoBlockNumber);
  const auto other = trace.AddBlock(cachestore::kNoBlockNumber);
  const auto answer = trace.AddBlock(prompt);
  trace.requests = {
      {.time_ms = 1, .input_tokens = 17, .output_tokens = 20, .session = 1, .last = prompt},
      {.time_ms = 2, .input_tokens = 18, .output_tokens = 3, .last = other},
      {.time_ms = 3, .session = 1, .last = answer},
      {.time_ms = 4, .input_tokens = 40, .output_tokens = 1, .session = 2, .last = answer}};
  std::vector<std::string> lines;
  StoreCache cache([&lines] { return std::make_unique<Diary>(&lines); }, trace, 10,
                   MakeRoom::kBefore, {.tells_hints = true});
  const Tally tally = Replay(trace, cache);
  EXPECT_EQ(lines, (std::vector<std::string>{
                       "1 ms: request of 17 tokens, 0 blocks there",
                       "2 ms: request of 18 tokens, 0 blocks there",
                       "end with 1 blocks, 3 tokens",
                       "end with 2 blocks, 20 tokens, closed",
                       "4 ms: request of 40 tokens, 2 blocks there",
                       "end with 2 blocks, 1 tokens, closed",
                   }));
  EXPECT_EQ(tally.requests, 3);
  EXPECT_EQ(tally.blocks, 4);
  EXPECT_EQ(tally.hit_blocks, 2);
}

}  // namespace
}  // namespace reprise::bench
