#include "bench/peers/peer_decoder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace reprise::bench {
namespace {

absl::StatusOr<std::unique_ptr<PeerDecoder>> StartScript(const std::string& script) {
  return PeerDecoder::Start({"/bin/sh", "-c", script});
}

TEST(PeerDecoderTest, SpeaksTheProtocol) {
  // Answers 1.5 seconds and the numbers that came behind the count; then a decode.
  auto peer = StartScript(
      "echo ready a peer 1.0\n"
      "read command count a b c d; echo 1.5 $a$b $c$d\n"
      "read command steps; echo 0.25 1 2 3 4 5 6\n");
  ASSERT_TRUE(peer.ok()) << peer.status();
  EXPECT_EQ((*peer)->name(), "a peer 1.0");
  const std::vector<std::vector<uint32_t>> prompts = {{1, 2}, {3, 4}};
  const auto prompted = (*peer)->Prompt(prompts);
  ASSERT_TRUE(prompted.ok()) << prompted.status();
  EXPECT_EQ(prompted->seconds, 1.5);
  EXPECT_THAT(prompted->tokens, testing::ElementsAre(12, 34));
  const auto decoded = (*peer)->Decode(3);
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  EXPECT_EQ(decoded->seconds, 0.25);
  EXPECT_THAT(decoded->tokens, testing::ElementsAre(1, 2, 3, 4, 5, 6));
}

TEST(PeerDecoderTest, ReportsWhatThePeerSays) {
  const auto missing = PeerDecoder::Start({"/no/such/program"});
  EXPECT_EQ(missing.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(missing.status().message()), testing::HasSubstr("No such file"));
  const auto refused = StartScript("echo error no such model");
  EXPECT_THAT(std::string(refused.status().message()), testing::HasSubstr("error no such model"));

  auto peer = StartScript("echo ready p; read line; echo error out of memory; read line; echo 1 7");
  ASSERT_TRUE(peer.ok()) << peer.status();
  const std::vector<std::vector<uint32_t>> prompts = {{1}, {2}};
  const auto failed = (*peer)->Prompt(prompts);
  EXPECT_EQ(failed.status().code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(failed.status().message()), testing::HasSubstr("error out of memory"));
  // One token where two are due is no answer.
  EXPECT_EQ((*peer)->Decode(1).status().code(), absl::StatusCode::kInternal);
  EXPECT_EQ((*peer)->Decode(1).status().code(), absl::StatusCode::kUnavailable);
}

}  // namespace
}  // namespace reprise::bench
