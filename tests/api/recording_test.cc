// A recording of a server's requests: that the file tells the requests that were made, that a
// replay of it hits what the server hit, and that it ends where it must.
#include "api/record/recording.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "api/client/admin_client.h"
#include "api/client/session.h"
#include "bench/hitrate/store_cache.h"
#include "cachestore/policy/lru_policy.h"
#include "cachestore/policy/reuse_policy.h"
#include "cachestore/trace/ktr_trace.h"
#include "tests/api/cache_service_fixture.h"

namespace reprise::api {
namespace {

using cachestore::ReadKtrTrace;
using cachestore::Trace;
using cachestore::TraceFinish;
using cachestore::TraceRequest;
using ::testing::HasSubstr;

constexpr int64_t kSlots = 64;

// RAM is the last tier, and small.
class RecordingTest : public CacheServiceTest {
 protected:
  explicit RecordingTest(
      const TestServer::Options& options = {.ram_bytes = kSlots * 4096,
                                            .disk_bytes = 0,
                                            .eviction = cachestore::EvictionOrder::kLru,
                                            .max_positions = 0,
                                            .admin = true})
      : CacheServiceTest(options), admin_(server_.server().admin_address().ToString()) {}

  std::string Path(const std::string& name) const { return server_.folder() / name; }
  v1::RecordingState Start(const std::string& name) {
    const auto state = admin_.StartRecording(Path(name), 0, kTestTimeout);
    EXPECT_TRUE(state.ok()) << state.status();
    return state.value_or(v1::RecordingState());
  }
  v1::RecordingState Stop() {
    const auto state = admin_.StopRecording(kTestTimeout);
    EXPECT_TRUE(state.ok()) << state.status();
    return state.value_or(v1::RecordingState());
  }
  Trace Read(const std::string& name) {
    const auto trace = ReadKtrTrace(Path(name));
    EXPECT_TRUE(trace.ok()) << trace.status();
    return trace.value_or(Trace());
  }

  // Looks the prompt up and stores what of it is missing; returns how many blocks there were.
  int64_t Serve(const std::vector<uint32_t>& prompt, const v1::CacheHints& hints) {
    return Serve(ns_, prompt, hints);
  }
  int64_t Serve(uint32_t ns, const std::vector<uint32_t>& prompt, const v1::CacheHints& hints) {
    const auto hits = client_.Touch(ns, prompt, kTestTimeout, hints);
    EXPECT_TRUE(hits.ok()) << hits.status();
    const auto num_blocks = static_cast<int64_t>(prompt.size()) / kTestBlockTokens;
    const absl::Span<const uint32_t> tokens(prompt);
    const std::string payload(static_cast<size_t>(block_bytes_), 'x');
    std::vector<PutBlock> blocks;
    for (int64_t i = *hits; i < num_blocks; ++i) {
      blocks.push_back({tokens.subspan(i * kTestBlockTokens, kTestBlockTokens), payload});
    }
    if (blocks.empty()) return *hits;
    const auto put = client_.Put(ns, tokens.first(*hits * kTestBlockTokens), blocks, kTestTimeout);
    EXPECT_EQ(put->stored_blocks(), static_cast<int64_t>(blocks.size())) << put.status();
    return *hits;
  }

  AdminClient admin_;
};

// Conversations that grow, one behind the other; `turn` is drawn from them.
std::vector<std::vector<uint32_t>> Prompts(size_t count) {
  std::mt19937 random(1);
  uint32_t next = 1000;
  std::vector<std::vector<uint32_t>> live;
  std::vector<std::vector<uint32_t>> prompts;
  while (prompts.size() < count) {
    if (live.size() < 3 || random() % 5 == 0) {
      live.emplace_back(2 * kTestBlockTokens, random() % 3);  // a beginning that others share
    } else {
      std::swap(live[live.size() - 1 - random() % std::min<size_t>(live.size(), 12)], live.back());
    }
    if (live.back().size() > 20 * kTestBlockTokens) live.back().resize(2 * kTestBlockTokens);
    for (uint32_t i = 0; i < 1 + random() % 40; ++i) live.back().push_back(next++);
    prompts.push_back(live.back());
  }
  return prompts;
}

TEST_F(RecordingTest, TheFileTellsTheRequestsAndAReplayHitsWhatTheServerHit) {
  Serve(std::vector<uint32_t>(kTestBlockTokens, 5), {});  // before the recording: not in it
  ASSERT_TRUE(client_
                  .Invalidate(
                      [] {
                        v1::InvalidateRequest all;
                        all.set_all(true);
                        return all;
                      }(),
                      kTestTimeout)
                  .ok());
  Start("run.ktr.gz");
  const auto prompts = Prompts(300);
  std::vector<int64_t> hits;
  for (size_t i = 0; i < prompts.size(); ++i) {
    v1::CacheHints hints;
    if (i % 3 > 0) hints.set_session(absl::StrCat("session ", i % 3));
    hits.push_back(Serve(prompts[i], hints));
  }
  const v1::RecordingState state = Stop();
  EXPECT_TRUE(state.ended());
  EXPECT_EQ(state.requests(), 300);
  EXPECT_EQ(state.dropped_requests(), 0);
  EXPECT_EQ(state.cause(), "");

  const Trace trace = Read("run.ktr.gz");
  EXPECT_EQ(trace.block_tokens, kTestBlockTokens);
  ASSERT_EQ(trace.requests.size(), prompts.size());
  EXPECT_EQ(static_cast<int64_t>(trace.num_blocks()), state.blocks());
  // A number stands for a whole prefix, and a prefix has one number.
  std::map<std::vector<uint32_t>, uint32_t> numbers;
  std::map<uint32_t, std::vector<uint32_t>> prefixes;
  std::vector<uint32_t> chain;
  bench::StoreCache cache([] { return std::make_unique<cachestore::LruPolicy>(); }, trace, kSlots,
                          bench::MakeRoom::kBefore);
  int64_t all_hits = 0;
  for (size_t i = 0; i < prompts.size(); ++i) {
    const TraceRequest& request = trace.requests[i];
    EXPECT_EQ(request.input_tokens, prompts[i].size());
    EXPECT_EQ(request.session, i % 3 == 0 ? 0 : i % 3);
    trace.ChainOf(request, chain);
    ASSERT_EQ(chain.size(), prompts[i].size() / kTestBlockTokens) << i;
    for (size_t block = 0; block < chain.size(); ++block) {
      const std::vector<uint32_t> prefix(prompts[i].begin(),
                                         prompts[i].begin() + (block + 1) * kTestBlockTokens);
      ASSERT_EQ(numbers.try_emplace(prefix, chain[block]).first->second, chain[block]);
      ASSERT_EQ(prefixes.try_emplace(chain[block], prefix).first->second, prefix);
    }
    EXPECT_EQ(static_cast<int64_t>(cache.Serve(request, chain)), hits[i]) << i;
    all_hits += hits[i];
  }
  EXPECT_GT(all_hits, 0);
  EXPECT_GT(server_.store().stats().dropped_blocks, 100) << "nothing had to go: this shows nothing";
}

class LearnedRecordingTest : public RecordingTest {
 protected:
  LearnedRecordingTest()
      : RecordingTest({.ram_bytes = kSlots * 4096,
                       .disk_bytes = 0,
                       .eviction = cachestore::EvictionOrder::kReuse,
                       .max_positions = 0,
                       .admin = true}) {}
};

// Conversations' turns, and after each a longer prompt that nobody sends again.
std::vector<std::vector<uint32_t>> PromptsAmongOneShots(size_t count) {
  std::vector<std::vector<uint32_t>> prompts;
  uint32_t next = 1'000'000;
  for (const std::vector<uint32_t>& turn : Prompts(count / 2)) {
    prompts.push_back(turn);
    prompts.emplace_back(30 * kTestBlockTokens);
    for (uint32_t& token : prompts.back()) token = next++;
  }
  return prompts;
}

// The order learns from the times of requests, and the recording has them as the order had.
TEST_F(LearnedRecordingTest, AReplayHitsWhatTheLearnedOrderHitWithHintsAndTenants) {
  v1::NamespaceIdentity other = TestIdentity();
  other.set_salt("another");
  const auto other_ns = client_.OpenNamespace(other, kTestTimeout);
  ASSERT_TRUE(other_ns.ok()) << other_ns.status();
  Start("run.ktr.gz");
  const auto prompts = PromptsAmongOneShots(800);
  std::vector<int64_t> hits;
  for (size_t i = 0; i < prompts.size(); ++i) {
    v1::CacheHints hints;
    if (i % 3 > 0) hints.set_session(absl::StrCat("session ", i % 3));
    hints.set_finish_reason("tool_use");
    const uint32_t ns = i % 8 == 0 ? other_ns->namespace_id() : ns_;
    hits.push_back(Serve(ns, prompts[i], hints));
  }
  EXPECT_EQ(Stop().dropped_requests(), 0);
  const Trace trace = Read("run.ktr.gz");
  ASSERT_EQ(trace.requests.size(), prompts.size());
  const auto replayed_hits = [&trace](const bench::PolicyMaker& policy) {
    bench::StoreCache cache(policy, trace, kSlots, bench::MakeRoom::kBefore);
    std::vector<uint32_t> chain;
    std::vector<int64_t> replayed;
    for (const TraceRequest& request : trace.requests) {
      trace.ChainOf(request, chain);
      replayed.push_back(static_cast<int64_t>(cache.Serve(request, chain)));
    }
    return replayed;
  };
  EXPECT_EQ(replayed_hits([] { return std::make_unique<cachestore::ReusePolicy>(); }), hits);
  const std::vector<int64_t> lru =
      replayed_hits([] { return std::make_unique<cachestore::LruPolicy>(); });
  const auto sum = [](const std::vector<int64_t>& of) {
    return std::accumulate(of.begin(), of.end(), int64_t{0});
  };
  EXPECT_LT(sum(lru), sum(hits) * 8 / 10) << "any order would do: this shows nothing";
}

TEST_F(RecordingTest, AServerThatIsStartedAgainRecordsIntoTheNextFile) {
  Recording recording(&server_.store());
  for (const char* name : {"run.ktr.gz", "run.ktr.gz.1", "run.ktr.gz.2"}) {
    const auto begun = recording.StartNext(Path("run.ktr.gz"), 0);
    ASSERT_TRUE(begun.ok()) << begun.status();
    EXPECT_EQ(begun->path, Path(name));
    EXPECT_EQ(recording.totals().running, 1);
    Serve(TestTokens(2), {});
    ASSERT_TRUE(recording.Stop().ok());
  }
  // The first one is as it was.
  EXPECT_EQ(Read("run.ktr.gz").requests.size(), 1u);
  EXPECT_EQ(Read("run.ktr.gz.2").requests.size(), 1u);
  EXPECT_EQ(recording.totals().running, 0);
  EXPECT_EQ(recording.totals().requests, 3);
  EXPECT_EQ(recording.totals().dropped_requests, 0);
  EXPECT_EQ(recording.StartNext(Path("no/such/folder.ktr.gz"), 0).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST_F(RecordingTest, ThereIsOneAtATimeIntoANewFile) {
  EXPECT_EQ(admin_.StopRecording(kTestTimeout).status().code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_FALSE(Start("a.ktr.gz").ended());
  EXPECT_EQ(admin_.StartRecording(Path("b.ktr.gz"), 0, kTestTimeout).status().code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(Stop().requests(), 0);
  EXPECT_EQ(Read("a.ktr.gz").requests.size(), 0u);
  EXPECT_EQ(admin_.StartRecording(Path("a.ktr.gz"), 0, kTestTimeout).status().code(),
            absl::StatusCode::kAlreadyExists);
  for (const std::string& wrong : {std::string(), Path("no/such/folder.ktr.gz")}) {
    EXPECT_EQ(admin_.StartRecording(wrong, 0, kTestTimeout).status().code(),
              absl::StatusCode::kInvalidArgument);
  }
  EXPECT_EQ(admin_.StartRecording(Path("b.ktr.gz"), -1, kTestTimeout).status().code(),
            absl::StatusCode::kInvalidArgument);
  Start("b.ktr.gz");  // the server ends it when it ends
}

TEST_F(RecordingTest, AReleaseTellsHowTheAnswerEnded) {
  Start("run.ktr.gz");
  const std::vector<uint32_t> prompt = TestTokens(2);
  v1::CacheHints hints;
  hints.set_session("s");
  Serve(prompt, hints);
  hints.set_finish_reason("tool_use");
  auto session = CacheSession::Open(server_.address(), {});
  ASSERT_TRUE(session.ok());
  v1::AcquireRequest wanted;
  wanted.mutable_hints()->set_session("s");
  auto acquired = (*session)->Acquire(ns_, prompt, wanted, kTestTimeout);
  ASSERT_TRUE(acquired.ok());
  ASSERT_TRUE((*session)->EndRequest(std::move(acquired->lease), hints, 77, kTestTimeout).ok());
  Stop();
  const Trace trace = Read("run.ktr.gz");
  ASSERT_EQ(trace.requests.size(), 2u);
  EXPECT_EQ(trace.requests[1].output_tokens, 77u);
  EXPECT_EQ(trace.requests[1].finish, TraceFinish::kToolUse);
  EXPECT_EQ(trace.requests[1].last, trace.requests[0].last);
}

// ---- The engine's requests.

class EngineRecordingTest : public RecordingTest {
 protected:
  EngineRecordingTest() : RecordingTest({.disk_bytes = 0, .admin = true}) {}
};

TEST_F(EngineRecordingTest, AnAnswersLengthEndAndBlocksAreTold) {
  Start("run.ktr.gz");
  v1::GenerateRequest request;
  for (uint32_t i = 0; i < 20; ++i) request.mutable_token_ids()->add_ids(i + 1);
  request.mutable_stop()->set_max_new_tokens(13);
  request.mutable_stop()->set_ignore_eos(true);
  request.mutable_hints()->set_session("s");
  InferenceClient client = server_.inference();
  const auto ignore = [](const v1::TokenChunk&) {};
  ASSERT_TRUE(client.Generate(request, kTestTimeout, ignore).ok());
  ASSERT_TRUE(client.Generate(request, kTestTimeout, ignore).ok());
  EXPECT_EQ(Stop().requests(), 2);
  const Trace trace = Read("run.ktr.gz");
  ASSERT_EQ(trace.requests.size(), 3u);
  for (const int i : {0, 2}) {
    const TraceRequest& asked = trace.requests[i];
    EXPECT_EQ(asked.input_tokens, 20u);
    EXPECT_EQ(asked.output_tokens, 13u);
    EXPECT_EQ(asked.session, 1u);
    EXPECT_EQ(asked.finish, TraceFinish::kOther);
    EXPECT_EQ(trace.NumBlocksOf(asked), 2u);
  }
  // The blocks that prompt and answer have filled: 32 of 33 tokens have keys and values.
  EXPECT_EQ(trace.requests[1].input_tokens, 0u);
  EXPECT_EQ(trace.NumBlocksOf(trace.requests[1]), 4u);
  EXPECT_EQ(trace.num_blocks(), 4u);
}

// ---- The recorder alone.

cachestore::StoreRequest RequestFor(absl::Span<const cachestore::BlockKey> keys,
                                    const cachestore::RequestHints& hints,
                                    int64_t block_tokens = 16) {
  return {.namespace_id = 0,
          .block_tokens = block_tokens,
          .prompt_tokens = static_cast<int64_t>(keys.size()) * block_tokens,
          .keys = keys,
          .matched = {},
          .hints = hints};
}

TEST(RequestRecorderTest, EndsByItselfWhereItIsFullAndSaysWhy) {
  const TempFolder folder;
  const std::string path = folder / "run.ktr.gz";
  const auto recorder = RequestRecorder::Start(path, {.blocks = 3}).value();
  const cachestore::RequestHints hints = {.use = cachestore::RequestHints::Use::kRequest};
  const std::vector<cachestore::BlockKey> keys = {{1, 1}, {2, 2}, {3, 3}, {4, 4}};
  recorder->OnRequest(RequestFor(keys, hints));
  const absl::Time deadline = absl::Now() + kTestTimeout;
  while (recorder->progress().cause.empty() && absl::Now() < deadline) std::this_thread::yield();
  recorder->OnRequest(RequestFor(keys, hints));
  recorder->Stop();
  const RecordingProgress end = recorder->progress();
  EXPECT_THAT(end.cause, HasSubstr("as many blocks as may be numbered: 3"));
  EXPECT_EQ(end.requests, 1);
  EXPECT_EQ(end.dropped_requests, 1);
  EXPECT_EQ(ReadKtrTrace(path)->num_blocks(), 4u);
}

TEST(RequestRecorderTest, DropsAndCountsWhatItCannotTake) {
  const TempFolder folder;
  const std::string path = folder / "run.ktr.gz";
  const auto recorder = RequestRecorder::Start(path, {.waiting_bytes = 600}).value();
  cachestore::RequestHints hints = {.use = cachestore::RequestHints::Use::kRequest, .session = 1};
  const std::vector<cachestore::BlockKey> keys = {{1, 1}};
  recorder->OnRequest(RequestFor(keys, hints));
  recorder->OnRequest(RequestFor(keys, hints, /*block_tokens=*/32));
  recorder->OnRequest(RequestFor(std::vector<cachestore::BlockKey>(1000), hints));
  hints.use = cachestore::RequestHints::Use::kPart;
  recorder->OnRequest(RequestFor(keys, hints));
  recorder->Stop();
  EXPECT_EQ(recorder->progress().dropped_requests, 2);
  EXPECT_EQ(ReadKtrTrace(path)->requests.size(), 1u);
}

}  // namespace
}  // namespace reprise::api
