#include "cachestore/trace/ktr_trace.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <fstream>
#include <random>
#include <string>
#include <vector>

#include "cachestore/trace/gzip_text.h"
#include "cachestore/trace/ktr_writer.h"
#include "tests/fakes/temp_folder.h"

namespace reprise::cachestore {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::string TempPath(const std::string& name) {
  static const TempFolder folder;
  return folder / name;
}

std::string Bytes(const std::vector<int>& bytes) { return std::string(bytes.begin(), bytes.end()); }

// "KTR1", blocks of 512 tokens, two requests, three blocks, no flags; then the request that the
// header comment spells out, and one 300 ms later that goes on behind its first block.
const std::vector<int> kWholeFile = {
    'K',  'T',  'R',  '1',  0x80, 4,    2,    3, 0,   // header
    7,    0xe8, 7,    0x14, 3,    0x24, 0,    2,      // blocks 0, 1
    0xac, 2,    0x80, 8,    0,    0,    0x11, 1, 1};  // blocks 0, 2

Trace RandomTrace(uint64_t seed, int num_requests) {
  std::mt19937_64 random(seed);
  Trace trace;
  trace.block_tokens = 16;
  int64_t time_ms = 0;
  for (int i = 0; i < num_requests; ++i) {
    TraceRequest request;
    request.time_ms = time_ms += static_cast<int64_t>(random() % 5000);
    request.input_tokens = static_cast<uint32_t>(random() % 100'000);
    request.output_tokens = static_cast<uint32_t>(random() % 1000);
    request.session = random() >> (random() % 64);
    request.type = static_cast<TraceRequestType>(random() % kNumTraceRequestTypes);
    request.finish = static_cast<TraceFinish>(random() % kNumTraceFinishes);
    if (trace.num_blocks() > 0 && random() % 4 > 0) {
      request.last = static_cast<BlockNumber>(random() % trace.num_blocks());
    }
    for (uint64_t n = random() % 5; n > 0; --n) request.last = trace.AddBlock(request.last);
    trace.requests.push_back(request);
  }
  return trace;
}

void ExpectSame(const Trace& read, const Trace& written) {
  EXPECT_EQ(read.block_tokens, written.block_tokens);
  EXPECT_EQ(read.parents, written.parents);
  EXPECT_EQ(read.depths, written.depths);
  ASSERT_EQ(read.requests.size(), written.requests.size());
  for (size_t i = 0; i < read.requests.size(); ++i) {
    const TraceRequest& a = read.requests[i];
    const TraceRequest& b = written.requests[i];
    EXPECT_TRUE(a.time_ms == b.time_ms && a.input_tokens == b.input_tokens &&
                a.output_tokens == b.output_tokens && a.session == b.session && a.type == b.type &&
                a.finish == b.finish && a.last == b.last)
        << "request " << i;
  }
}

TEST(KtrTraceTest, BytesMeanWhatTheHeaderSays) {
  const auto trace = ParseKtrTrace(Bytes(kWholeFile), "trace");
  ASSERT_TRUE(trace.ok()) << trace.status();
  EXPECT_EQ(trace->block_tokens, 512);
  EXPECT_THAT(trace->parents, ElementsAre(kNoBlockNumber, 0, 0));
  EXPECT_THAT(trace->depths, ElementsAre(0, 1, 1));
  ASSERT_EQ(trace->requests.size(), 2u);
  const TraceRequest& first = trace->requests[0];
  EXPECT_EQ(first.time_ms, 7);
  EXPECT_EQ(first.input_tokens, 1000u);
  EXPECT_EQ(first.output_tokens, 20u);
  EXPECT_EQ(first.session, 3u);
  EXPECT_EQ(first.type, TraceRequestType::kChat);
  EXPECT_EQ(first.finish, TraceFinish::kEndTurn);
  EXPECT_EQ(trace->requests[1].time_ms, 307);
  EXPECT_EQ(trace->requests[1].finish, TraceFinish::kToolUse);
  std::vector<BlockNumber> chain;
  trace->ChainOf(first, chain);
  EXPECT_THAT(chain, ElementsAre(0, 1));
  trace->ChainOf(trace->requests[1], chain);
  EXPECT_THAT(chain, ElementsAre(0, 2));
}

TEST(KtrTraceTest, WhatIsWrittenIsRead) {
  for (const int num_requests : {0, 1, 20'000}) {
    const Trace trace = RandomTrace(7, num_requests);
    const std::string path = TempPath("round_trip.ktr.gz");
    ASSERT_TRUE(WriteKtrTrace(trace, path).ok());
    const auto read = ReadKtrTrace(path);
    ASSERT_TRUE(read.ok()) << read.status();
    ExpectSame(*read, trace);
  }
}

// What a reader sees while a trace is being written, and after the writer was killed.
TEST(KtrTraceTest, FileHoldsWhatWasFlushed) {
  const std::string path = TempPath("flushed.ktr.gz");
  auto writer = KtrWriter::Create(path, 16);
  ASSERT_TRUE(writer.ok()) << writer.status();
  ASSERT_TRUE((*writer)->Append({.time_ms = 5, .input_tokens = 40, .num_new = 3}).ok());
  EXPECT_TRUE(ReadKtrTrace(path)->requests.empty());
  ASSERT_TRUE((*writer)->Flush().ok());
  // A clock that goes back does not.
  ASSERT_TRUE((*writer)->Append({.time_ms = 2, .input_tokens = 20, .anchor = 1}).ok());
  EXPECT_EQ(ReadKtrTrace(path)->requests.size(), 1u);
  ASSERT_TRUE((*writer)->Close().ok());
  const auto whole = ReadKtrTrace(path);
  ASSERT_TRUE(whole.ok()) << whole.status();
  ASSERT_EQ(whole->requests.size(), 2u);
  EXPECT_EQ(whole->requests[1].time_ms, 5);
  EXPECT_EQ(whole->requests[1].last, 1u);
  EXPECT_EQ((*writer)->file_bytes(), std::ifstream(path, std::ios::binary | std::ios::ate).tellg());
}

TEST(KtrTraceTest, EveryCutIsAnError) {
  for (size_t length = 0; length < kWholeFile.size(); ++length) {
    const auto trace = ParseKtrTrace(Bytes(kWholeFile).substr(0, length), "cut");
    EXPECT_EQ(trace.status().code(), absl::StatusCode::kInvalidArgument) << length;
    EXPECT_THAT(std::string(trace.status().message()), HasSubstr("cut: byte ")) << length;
  }
}

TEST(KtrTraceTest, ErrorsSayWhereAndWhy) {
  const auto message = [](size_t at, std::vector<int> replacement) {
    std::vector<int> bytes = kWholeFile;
    std::copy(replacement.begin(), replacement.end(), bytes.begin() + static_cast<long>(at));
    return std::string(ParseKtrTrace(Bytes(bytes), "f").status().message());
  };
  EXPECT_THAT(message(3, {'2'}), HasSubstr("f: byte 0: does not begin with KTR1"));
  EXPECT_THAT(message(8, {1}), HasSubstr("f: byte 8: flags are not 0"));
  EXPECT_THAT(message(14, {0x26}), HasSubstr("f: byte 14: meta 38 has a type"));
  EXPECT_THAT(message(14, {0x44}), HasSubstr("f: byte 14: meta 68 has a type"));
  EXPECT_THAT(message(24, {3}), HasSubstr("f: byte 24: anchor + 1 is 3, more than 2"));
  EXPECT_THAT(message(25, {2}), HasSubstr("f: byte 25: n_new is 2, more than 1"));
  EXPECT_THAT(message(25, {0}), HasSubstr("the requests have 2 blocks, the header says 3"));
  EXPECT_THAT(message(4, {0, 4}), HasSubstr("f: byte 4: block_tokens is 0"));
  const std::string overlong = "KTR1" + std::string(10, '\xff') + "\1";
  EXPECT_THAT(std::string(ParseKtrTrace(overlong, "f").status().message()),
              HasSubstr("f: byte 4: block_tokens is no number of 64 bits"));
}

TEST(KtrTraceTest, FilesThatCannotBeReadAreNamed) {
  EXPECT_EQ(ReadKtrTrace(TempPath("absent.ktr.gz")).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(KtrWriter::Create(TempPath("absent/f.ktr.gz"), 16).status().code(),
            absl::StatusCode::kInternal);
  const std::string path = TempPath("damaged.ktr.gz");
  ASSERT_TRUE(WriteKtrTrace(RandomTrace(3, 5000), path).ok());
  std::string bytes;
  {
    std::ifstream in(path, std::ios::binary);
    bytes.assign(std::istreambuf_iterator<char>(in), {});
  }
  bytes.resize(bytes.size() / 2);
  std::ofstream(path, std::ios::binary) << bytes;
  const auto cut = ReadKtrTrace(path);
  EXPECT_EQ(cut.status().code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(cut.status().message()), HasSubstr("damaged.ktr.gz"));
}

TEST(GzipTextTest, PlainFilesAreReadAsTheyAre) {
  const std::string path = TempPath("plain.txt");
  std::ofstream(path) << "not compressed\n";
  const auto text = ReadGzipText(path);
  ASSERT_TRUE(text.ok()) << text.status();
  EXPECT_EQ(text->bytes, "not compressed\n");
  EXPECT_TRUE(text->ending.ok());
}

}  // namespace
}  // namespace reprise::cachestore
