#include "bench/hitrate/trace_lines.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <string>
#include <vector>

#include "bench/hitrate/bounds.h"
#include "bench/hitrate/generator.h"
#include "bench/hitrate/trace_file.h"
#include "cachestore/trace/ktr_writer.h"
#include "tests/fakes/temp_folder.h"

namespace reprise::bench {
namespace {

using cachestore::BlockNumber;
using cachestore::kNoBlockNumber;
using cachestore::Trace;
using cachestore::TraceFinish;
using testing::ElementsAre;
using testing::HasSubstr;

std::vector<BlockNumber> ChainOf(const Trace& trace, size_t request) {
  std::vector<BlockNumber> chain;
  trace.ChainOf(trace.requests[request], chain);
  return chain;
}

TEST(TraceLinesTest, MooncakeLinesInTheOrderOfTheirTimes) {
  const auto trace = ParseTraceLines(
      R"({"timestamp": 3050, "input_length": 1200, "output_length": 7, "hash_ids": [90, 91, 17]}

{"timestamp": 3000, "input_length": 1024, "output_length": 5, "hash_ids": [90, 91], "more": {}}
{"timestamp": 3050, "input_length": 0, "output_length": 1, "hash_ids": []}
{"timestamp": 4000, "input_length": 600, "output_length": 1, "hash_ids": [91, 17]})",
      "f", 16);
  ASSERT_TRUE(trace.ok()) << trace.status();
  EXPECT_EQ(trace->block_tokens, kMooncakeBlockTokens);
  ASSERT_EQ(trace->requests.size(), 4u);
  EXPECT_EQ(trace->requests[0].time_ms, 0);
  EXPECT_EQ(trace->requests[0].input_tokens, 1024u);
  EXPECT_EQ(trace->requests[1].time_ms, 50);
  EXPECT_EQ(trace->requests[1].output_tokens, 7u);
  EXPECT_THAT(ChainOf(*trace, 0), ElementsAre(0, 1));
  EXPECT_THAT(ChainOf(*trace, 1), ElementsAre(0, 1, 2));
  EXPECT_THAT(ChainOf(*trace, 2), testing::IsEmpty());
  // The same ids behind other blocks are others.
  EXPECT_THAT(ChainOf(*trace, 3), ElementsAre(3, 4));
}

TEST(TraceLinesTest, LogsWithTokenIdsAsServersNameTheirFields) {
  const auto trace = ParseTraceLines(
      R"({"arrival_time": 10.5, "prompt_token_ids": [1,2,3,4,5], "output_token_ids": [6,7],)"
      R"( "session_id": "a", "finish_reason": "tool_calls"})"
      "\n"
      R"({"timestamp": 11000, "input_ids": [1,2,3,4,9,9,9,9,9], "completion_tokens": 40,)"
      R"( "session_id": 7, "finish_reason": "stop"})"
      "\n"
      R"({"arrival_time": 12, "prompt_token_ids": [1,2,3,4,9,9,9,9,8], "session_id": "a"})"
      "\n",
      "f", 4);
  ASSERT_TRUE(trace.ok()) << trace.status();
  EXPECT_EQ(trace->block_tokens, 4);
  // Full blocks alone; the same tokens behind the same ones are the same block.
  EXPECT_THAT(ChainOf(*trace, 0), ElementsAre(0));
  EXPECT_THAT(ChainOf(*trace, 1), ElementsAre(0, 1));
  EXPECT_THAT(ChainOf(*trace, 2), ElementsAre(0, 1));
  EXPECT_EQ(trace->requests[0].input_tokens, 5u);
  EXPECT_EQ(trace->requests[0].output_tokens, 2u);
  EXPECT_EQ(trace->requests[0].finish, TraceFinish::kToolUse);
  EXPECT_EQ(trace->requests[1].time_ms, 500);
  EXPECT_EQ(trace->requests[1].output_tokens, 40u);
  EXPECT_EQ(trace->requests[1].finish, TraceFinish::kEndTurn);
  EXPECT_EQ(trace->requests[2].time_ms, 1500);
  EXPECT_EQ(trace->requests[2].finish, TraceFinish::kUnknown);
  EXPECT_EQ(trace->requests[0].session, 1u);
  EXPECT_EQ(trace->requests[1].session, 2u);
  EXPECT_EQ(trace->requests[2].session, 1u);
}

TEST(TraceLinesTest, ErrorsNameTheLineAndTheCause) {
  const std::string good =
      R"({"timestamp": 1, "input_length": 1, "output_length": 1, "hash_ids": [1]})";
  const struct {
    std::string text;
    std::string cause;
  } cases[] = {
      {"", "f: has no requests"},
      {"\n \n", "f: has no requests"},
      {good + "\n{", "f: line 2: is no JSON object"},
      {"[1]", "f: line 1: is no JSON object"},
      {good + "\n" + R"({"arrival_time": 1, "input_ids": []})", "f: line 2: some lines have"},
      {R"({"timestamp": 1, "input_length": 1, "output_length": 1})",
       "f: line 1: field \"prompt_token_ids\" is missing, and so is \"hash_ids\""},
      {R"({"input_length": 1, "output_length": 1, "hash_ids": []})",
       "field \"timestamp\" is missing"},
      {R"({"timestamp": "1", "input_length": 1, "output_length": 1, "hash_ids": []})",
       "field \"timestamp\" is no number"},
      {R"({"timestamp": 1e300, "input_length": 1, "output_length": 1, "hash_ids": []})",
       "field \"timestamp\" is no time"},
      {R"({"timestamp": 1, "input_length": -1, "output_length": 1, "hash_ids": []})",
       "field \"input_length\" is no whole number"},
      {R"({"timestamp": 1, "input_length": 9999999999, "output_length": 1, "hash_ids": []})",
       "field \"input_length\" is more than"},
      {R"({"timestamp": 1, "input_length": 1, "output_length": 1, "hash_ids": 3})",
       "field \"hash_ids\" is no array"},
      {R"({"timestamp": 1, "input_length": 1, "output_length": 1, "hash_ids": [1.5]})",
       "field \"hash_ids\" is no whole number"},
      {R"({"arrival_time": 1, "input_ids": [4294967296]})",
       "field \"input_ids\" is more than 4294967295"},
      {R"({"arrival_time": 1, "input_ids": [1], "output_ids": 4})",
       "field \"output_ids\" is no array"},
  };
  for (const auto& [text, cause] : cases) {
    const auto trace = ParseTraceLines(text, "f", 16);
    EXPECT_EQ(trace.status().code(), absl::StatusCode::kInvalidArgument) << text;
    EXPECT_THAT(std::string(trace.status().message()), HasSubstr(cause)) << text;
  }
}

TEST(TraceFileTest, ContentsTellTheFormatAndThePathTheName) {
  const TempFolder folder;
  const Trace chat = GenerateTrace(TraceKind::kChat, 3, 50);
  ASSERT_TRUE(cachestore::WriteKtrTrace(chat, folder / "my_chat.ktr.gz").ok());
  const auto read = ReadTraceFile(folder / "my_chat.ktr.gz", 16);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->name, "my_chat");
  EXPECT_EQ(read->parents, chat.parents);
  std::ofstream(folder / "log.jsonl") << R"({"arrival_time": 1, "input_ids": [1, 2, 3, 4]})";
  EXPECT_EQ(ReadTraceFile(folder / "log.jsonl", 2)->num_blocks(), 2u);
  // A request shorter than a block leaves nothing to replay.
  EXPECT_THAT(std::string(ReadTraceFile(folder / "log.jsonl", 16).status().message()),
              HasSubstr("log.jsonl: the trace has no blocks"));
}

TEST(GeneratorTest, TracesHaveTheShapeOfTheirKind) {
  for (const TraceKind kind : {TraceKind::kChat, TraceKind::kAgent}) {
    const Trace trace = GenerateTrace(kind, 5, 3000);
    ASSERT_EQ(trace.requests.size(), 3000u);
    EXPECT_EQ(GenerateTrace(kind, 5, 3000).parents, trace.parents);
    EXPECT_NE(GenerateTrace(kind, 6, 3000).parents, trace.parents);
    for (size_t i = 0; i < trace.requests.size(); ++i) {
      const cachestore::TraceRequest& request = trace.requests[i];
      EXPECT_TRUE(i == 0 || request.time_ms >= trace.requests[i - 1].time_ms);
      EXPECT_EQ(trace.NumBlocksOf(request), (request.input_tokens + 511) / 512);
    }
    // Agents ask for what was there again and again, half of the chats never come back.
    const double infinite = InfiniteCache(trace).block_ratio();
    EXPECT_GT(infinite, kind == TraceKind::kChat ? 0.2 : 0.8);
    EXPECT_LT(infinite, kind == TraceKind::kChat ? 0.8 : 0.99);
  }
}

}  // namespace
}  // namespace reprise::bench
