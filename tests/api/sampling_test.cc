// Sampling fields over gRPC, from the request to the chunks.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <set>
#include <string>
#include <vector>

#include "api/client/inference_client.h"
#include "tests/api/test_server.h"

namespace reprise::api {
namespace {

using ::testing::Each;
using ::testing::HasSubstr;
using ::testing::Not;

class SamplingTest : public ::testing::Test {
 protected:
  SamplingTest() : server_(TestServer::Options{}), client_(server_.address()) {
    request_.set_text("Once upon a time there was");
    request_.mutable_stop()->set_max_new_tokens(16);
    request_.mutable_stop()->set_ignore_eos(true);
  }

  std::vector<v1::TokenChunk> Chunks() {
    std::vector<v1::TokenChunk> chunks;
    const auto summary =
        client_.Generate(request_, kTestTimeout,
                         [&chunks](const v1::TokenChunk& chunk) { chunks.push_back(chunk); });
    EXPECT_TRUE(summary.ok()) << summary.status();
    return chunks;
  }

  std::vector<uint32_t> Ids() {
    std::vector<uint32_t> ids;
    for (const v1::TokenChunk& chunk : Chunks()) ids.push_back(chunk.token_id());
    EXPECT_EQ(ids.size(), 16u);
    return ids;
  }

  v1::Sampling* sampling() { return request_.mutable_sampling(); }

  TestServer server_;
  InferenceClient client_;
  v1::GenerateRequest request_;
};

TEST_F(SamplingTest, LogprobsComeWithTheirTokens) {
  for (const v1::TokenChunk& chunk : Chunks()) EXPECT_FALSE(chunk.has_logprob());
  sampling()->set_top_logprobs(5);
  for (const v1::TokenChunk& chunk : Chunks()) {
    ASSERT_TRUE(chunk.has_logprob());
    ASSERT_EQ(chunk.top_logprobs_size(), 5);
    EXPECT_EQ(chunk.top_logprobs(0).token_id(), chunk.token_id());  // greedy
    EXPECT_EQ(chunk.top_logprobs(0).logprob(), chunk.logprob());
    double sum = 0;
    float before = 0;
    for (const v1::TokenLogprob& top : chunk.top_logprobs()) {
      EXPECT_LE(top.logprob(), before);
      before = top.logprob();
      sum += std::exp(double{top.logprob()});
    }
    EXPECT_GT(sum, 5.0 / 259);  // more than an even share each
    EXPECT_LE(sum, 1);
  }
  sampling()->set_top_logprobs(0);
  for (const v1::TokenChunk& chunk : Chunks()) {
    EXPECT_TRUE(chunk.has_logprob());
    EXPECT_EQ(chunk.top_logprobs_size(), 0);
  }
}

TEST_F(SamplingTest, ABiasForcesOrBansATokenAndLeavesItsLogprob) {
  const std::vector<uint32_t> free = Ids();
  ASSERT_THAT(free, Not(Each(65u)));
  (*sampling()->mutable_logit_bias())[65] = 100;
  sampling()->set_temperature(1);
  sampling()->set_top_logprobs(1);
  for (const v1::TokenChunk& chunk : Chunks()) {
    EXPECT_EQ(chunk.token_id(), 65u);
    EXPECT_LT(chunk.logprob(), -0.1);  // the model's own, not that of a token that must come
  }
  sampling()->Clear();
  for (const uint32_t id : free) (*sampling()->mutable_logit_bias())[id] = -100;
  for (const uint32_t id : Ids()) EXPECT_EQ(sampling()->logit_bias().count(id), 0u) << id;
}

TEST_F(SamplingTest, PenaltiesReachTheSampler) {
  const auto distinct = [this] {
    const std::vector<uint32_t> ids = Ids();
    return std::set<uint32_t>(ids.begin(), ids.end()).size();
  };
  // The test model's logits differ by less than the penalties.
  sampling()->set_presence_penalty(2);
  EXPECT_EQ(distinct(), 16u);
  sampling()->set_presence_penalty(-2);
  EXPECT_LT(distinct(), 8u);
  sampling()->clear_presence_penalty();
  sampling()->set_frequency_penalty(2);
  EXPECT_EQ(distinct(), 16u);
  sampling()->set_frequency_penalty(-2);
  EXPECT_LT(distinct(), 8u);
  sampling()->clear_frequency_penalty();
  // The prompt counts, too.
  sampling()->set_repetition_penalty(0.01f);
  const std::string prompt = request_.text();
  for (const uint32_t id : Ids()) {
    EXPECT_NE(prompt.find(static_cast<char>(id)), std::string::npos) << id;
  }
}

TEST_F(SamplingTest, MinPOneIsGreedyAtAnyTemperature) {
  const std::vector<uint32_t> greedy = Ids();
  sampling()->set_temperature(3);
  sampling()->set_seed(4);
  EXPECT_NE(Ids(), greedy);
  sampling()->set_min_p(1);
  EXPECT_EQ(Ids(), greedy);
}

TEST_F(SamplingTest, TheCacheChangesNeitherTokensNorLogprobs) {
  sampling()->set_temperature(1.5f);
  sampling()->set_repetition_penalty(1.5f);
  sampling()->set_frequency_penalty(0.5f);
  sampling()->set_min_p(0.01f);
  sampling()->set_top_logprobs(3);
  request_.set_cache_use(v1::CACHE_USE_OFF);
  const std::vector<v1::TokenChunk> cold = Chunks();
  request_.set_cache_use(v1::CACHE_USE_DEFAULT);
  Chunks();
  const std::vector<v1::TokenChunk> warm = Chunks();
  EXPECT_GT(server_.engine().stats().cached_tokens, 0);
  ASSERT_EQ(warm.size(), cold.size());
  for (size_t i = 0; i < warm.size(); ++i) {
    EXPECT_EQ(warm[i].SerializeAsString(), cold[i].SerializeAsString()) << i;
  }
}

TEST_F(SamplingTest, AFieldOutOfRangeIsNamed) {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  struct Wrong {
    std::string named;
    std::function<void(v1::Sampling*)> set;
  };
  const std::vector<Wrong> wrongs = {
      {"temperature is -1", [](v1::Sampling* s) { s->set_temperature(-1); }},
      {"top_k is -1", [](v1::Sampling* s) { s->set_top_k(-1); }},
      {"top_p is 0", [](v1::Sampling* s) { s->set_top_p(0); }},
      {"min_p is 2", [](v1::Sampling* s) { s->set_min_p(2); }},
      {"repetition_penalty is 0", [](v1::Sampling* s) { s->set_repetition_penalty(0); }},
      {"presence_penalty is 3", [](v1::Sampling* s) { s->set_presence_penalty(3); }},
      {"frequency_penalty is nan", [](v1::Sampling* s) { s->set_frequency_penalty(kNan); }},
      {"logit_bias has token 259", [](v1::Sampling* s) { (*s->mutable_logit_bias())[259] = 1; }},
      {"logit_bias of token 7 is 101",
       [](v1::Sampling* s) { (*s->mutable_logit_bias())[7] = 101; }},
      {"top_logprobs is 21", [](v1::Sampling* s) { s->set_top_logprobs(21); }}};
  for (const Wrong& wrong : wrongs) {
    sampling()->Clear();
    wrong.set(sampling());
    const absl::Status status =
        client_.Generate(request_, kTestTimeout, [](const v1::TokenChunk&) {}).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << wrong.named;
    EXPECT_THAT(std::string(status.message()), HasSubstr(wrong.named));
  }
}

}  // namespace
}  // namespace reprise::api
