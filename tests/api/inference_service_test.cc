#include "api/inference_service.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "api/cli/text_file.h"
#include "api/limits.h"
#include "tests/api/small_window.h"
#include "tests/api/test_server.h"
#include "tests/fakes/seen_requests.h"

namespace reprise::api {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

struct Output {
  std::vector<uint32_t> ids;
  std::string text;
  v1::GenerateSummary summary;
};

class InferenceServiceTest : public ::testing::Test {
 protected:
  InferenceServiceTest() : InferenceServiceTest(TestServer::Options{}) {}
  explicit InferenceServiceTest(const TestServer::Options& options)
      : server_(options),
        client_(server_.address()),
        stub_(v1::Inference::NewStub(ConnectTo(server_.address()))) {}
  ~InferenceServiceTest() override {
    EXPECT_EQ(server_.engine().stats().running_requests, 0);
    EXPECT_EQ(server_.store().stats().pinned_blocks, 0);
    const absl::Status intact = server_.store().CheckIntegrity();
    EXPECT_TRUE(intact.ok()) << intact;
  }

  static v1::GenerateRequest TextRequest(const std::string& text, int32_t max_new_tokens) {
    v1::GenerateRequest request;
    request.set_text(text);
    request.mutable_stop()->set_max_new_tokens(max_new_tokens);
    request.mutable_stop()->set_ignore_eos(true);
    return request;
  }

  Output Generate(const v1::GenerateRequest& request) {
    Output output;
    const auto summary =
        client_.Generate(request, kTestTimeout, [&output](const v1::TokenChunk& chunk) {
          output.ids.push_back(chunk.token_id());
          output.text += chunk.text();
        });
    EXPECT_TRUE(summary.ok()) << summary.status();
    output.summary = summary.value_or(v1::GenerateSummary());
    return output;
  }

  absl::Status GenerateError(const v1::GenerateRequest& request) {
    return client_.Generate(request, kTestTimeout, [](const v1::TokenChunk&) {}).status();
  }

  // Waits until the engine has ended `count` requests in all. Asks over the wire, which paces it.
  void AwaitEnded(int64_t count) {
    CacheClient cache = server_.cache();
    const absl::Time deadline = absl::Now() + kTestTimeout;
    while (absl::Now() < deadline) {
      if (Ended() >= count) return;
      cache.Stats(kTestTimeout).IgnoreError();
    }
    FAIL() << "requests go on; " << server_.engine().stats().decoded_tokens << " tokens decoded";
  }

  int64_t Ended() {
    const engine::EngineStats stats = server_.engine().stats();
    return stats.finished_requests + stats.failed_requests;
  }

  TestServer server_;
  InferenceClient client_;
  std::unique_ptr<v1::Inference::Stub> stub_;
};

TEST_F(InferenceServiceTest, StreamsOneChunkPerTokenAndASummaryLast) {
  const Output output = Generate(TextRequest("Hello there, world", 12));
  EXPECT_EQ(output.ids.size(), 12u);
  EXPECT_EQ(output.summary.new_tokens(), 12);
  EXPECT_EQ(output.summary.prompt_tokens(), 18);  // a token per byte
  EXPECT_EQ(output.summary.finish_reason(), v1::FINISH_REASON_MAX_TOKENS);
  EXPECT_EQ(output.summary.block_tokens(), kTestBlockTokens);
  EXPECT_GT(output.summary.ttft_seconds(), 0);
  EXPECT_GE(output.summary.total_seconds(), output.summary.ttft_seconds());
  EXPECT_GT(output.summary.decode_tokens_per_second(), 0);
}

TEST_F(InferenceServiceTest, ARepeatedPromptComesFromTheCacheWithTheSameTokens) {
  const v1::GenerateRequest request = TextRequest(std::string(100, 'a') + "b", 8);
  v1::GenerateRequest uncached = request;
  uncached.set_cache_use(v1::CACHE_USE_OFF);
  const Output off = Generate(uncached);
  const Output first = Generate(request);
  const Output again = Generate(request);
  EXPECT_EQ(off.summary.cached_tokens().ram(), 0);
  EXPECT_EQ(first.summary.cached_tokens().ram(), 0);
  EXPECT_EQ(again.summary.cached_tokens().ram(), 96);
  ASSERT_TRUE(server_.cache().Demote(kTestTimeout).ok());
  const Output from_disk = Generate(request);
  EXPECT_EQ(from_disk.summary.cached_tokens().ram(), 0);
  EXPECT_EQ(from_disk.summary.cached_tokens().disk(), 96);
  EXPECT_EQ(first.ids, off.ids);
  EXPECT_EQ(again.ids, off.ids);
  EXPECT_EQ(from_disk.ids, off.ids);
}

TEST_F(InferenceServiceTest, TenantsAndSaltsShareNothing) {
  v1::GenerateRequest request = TextRequest(std::string(50, 'a'), 2);
  Generate(request);
  request.set_tenant("alice");
  EXPECT_EQ(Generate(request).summary.cached_tokens().ram(), 0);
  request.set_salt("s");
  EXPECT_EQ(Generate(request).summary.cached_tokens().ram(), 0);
  EXPECT_EQ(Generate(request).summary.cached_tokens().ram(), 48);
}

TEST_F(InferenceServiceTest, TokenIdsGiveWhatTheirTextGives) {
  v1::TokenizeRequest tokenize;
  tokenize.set_text("Some words");
  const auto ids = client_.Tokenize(tokenize, kTestTimeout);
  ASSERT_TRUE(ids.ok()) << ids.status();
  EXPECT_EQ(ids->size(), 10u);
  v1::GenerateRequest by_ids = TextRequest("", 6);
  by_ids.mutable_token_ids()->mutable_ids()->Assign(ids->begin(), ids->end());
  EXPECT_EQ(Generate(by_ids).ids, Generate(TextRequest("Some words", 6)).ids);
}

TEST_F(InferenceServiceTest, ALongerConversationReusesTheShorterOne) {
  v1::GenerateRequest request = TextRequest("", 4);
  const auto add = [&request](const std::string& role, const std::string& content) {
    v1::ChatMessage& message = *request.mutable_conversation()->add_messages();
    message.set_role(role);
    message.set_content(content);
  };
  add("system", "You are brief and to the point.");
  add("user", "What is a block?");
  const Output first = Generate(request);
  EXPECT_EQ(first.summary.cached_tokens().ram(), 0);
  add("assistant", "A few tokens.");
  add("user", "And a slot?");
  const Output second = Generate(request);
  // The last message of the first prompt ends in a cue that the second prompt has as well.
  EXPECT_GE(second.summary.cached_tokens().ram(),
            (first.summary.prompt_tokens() - 1) / kTestBlockTokens * kTestBlockTokens);
  v1::TokenizeRequest tokenize;
  *tokenize.mutable_conversation() = request.conversation();
  EXPECT_EQ(static_cast<int64_t>(client_.Tokenize(tokenize, kTestTimeout)->size()),
            second.summary.prompt_tokens());
}

TEST_F(InferenceServiceTest, TheChatTemplateIsToldItsVariables) {
  const absl::Status written =
      WriteFile(server_.folder() / "tiny/chat_template.jinja",
                "{{ messages[0].content }}"
                "{% if enable_thinking is false %}!{% endif %}"
                "{% for tool in tools or [] %}{{ tool.name }}{% endfor %}");
  ASSERT_TRUE(written.ok()) << written;
  server_.Restart();
  InferenceClient client = server_.inference();
  v1::TokenizeRequest request;
  v1::Conversation& conversation = *request.mutable_conversation();
  v1::ChatMessage& message = *conversation.add_messages();
  message.set_role("user");
  message.set_content("Hi");
  const auto count = [&](const std::string& variables) {
    conversation.set_template_variables(variables);
    const auto ids = client.Tokenize(request, kTestTimeout);
    return ids.ok() ? static_cast<int64_t>(ids->size()) : -1;
  };
  EXPECT_EQ(count(""), 2);
  EXPECT_EQ(count("{\"enable_thinking\": true}"), 2);
  EXPECT_EQ(count("{\"enable_thinking\": false}"), 3);
  EXPECT_EQ(count("{\"tools\": [{\"name\": \"abcd\"}]}"), 6);
  conversation.set_template_variables("{\"tools\": 0.5}");
  const absl::Status refused = client.Tokenize(request, kTestTimeout).status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(refused.message()), HasSubstr("template_variables"));
}

TEST_F(InferenceServiceTest, APromptLongerThanTheContextIsRefusedWithBothLengths) {
  const absl::Status status = GenerateError(TextRequest(std::string(600, 'a'), 1));
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), AllOf(HasSubstr("600"), HasSubstr("512")));
}

TEST_F(InferenceServiceTest, BadRequestsAreRefusedWithTheirCause) {
  v1::GenerateRequest request;
  EXPECT_THAT(std::string(GenerateError(request).message()), HasSubstr("input is missing"));
  EXPECT_EQ(GenerateError(TextRequest("", 1)).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(GenerateError(TextRequest("x", -1)).message()), HasSubstr("-1"));
  request = TextRequest("x", 1);
  request.mutable_sampling()->set_top_p(2);
  EXPECT_THAT(std::string(GenerateError(request).message()), HasSubstr("top_p"));
  request = TextRequest("", 1);
  request.mutable_token_ids()->add_ids(123456);
  EXPECT_THAT(std::string(GenerateError(request).message()), HasSubstr("123456"));
  request = TextRequest("", 1);
  v1::ChatMessage& message = *request.mutable_conversation()->add_messages();
  message.set_role("oracle");
  message.set_content("x");
  EXPECT_THAT(std::string(GenerateError(request).message()), HasSubstr("oracle"));
  request.mutable_conversation()->mutable_messages(0)->set_role(std::string(5000, 'r'));
  EXPECT_THAT(std::string(GenerateError(request).message()),
              AllOf(HasSubstr("5000 bytes"), Not(HasSubstr("rrrr"))));
  request.mutable_conversation()->mutable_messages(0)->set_role("user");
  for (int i = 0; i < kMaxChatMessages; ++i) request.mutable_conversation()->add_messages();
  EXPECT_THAT(std::string(GenerateError(request).message()),
              HasSubstr(absl::StrCat(kMaxChatMessages + 1, " messages")));
  request = TextRequest("x", 1);
  request.mutable_stop()->add_strings("");
  EXPECT_EQ(GenerateError(request).code(), absl::StatusCode::kInvalidArgument);
  request = TextRequest(std::string(5 << 20, 'a'), 1);
  EXPECT_THAT(std::string(GenerateError(request).message()), HasSubstr("5242880 bytes"));
  // None of them did harm.
  EXPECT_EQ(Generate(TextRequest("x", 3)).ids.size(), 3u);
}

TEST_F(InferenceServiceTest, StopStringsEndTheText) {
  const Output free = Generate(TextRequest("Stop here", 20));
  ASSERT_GT(free.text.size(), 6u);
  v1::GenerateRequest request = TextRequest("Stop here", 20);
  const std::string stop = free.text.substr(4, 2);
  request.mutable_stop()->add_strings(stop);
  const Output stopped = Generate(request);
  EXPECT_EQ(stopped.summary.finish_reason(), v1::FINISH_REASON_STOP_STRING);
  EXPECT_EQ(stopped.text, free.text.substr(0, free.text.find(stop)));
}

TEST_F(InferenceServiceTest, SameSeedSameTokens) {
  v1::GenerateRequest request = TextRequest("Sample", 24);
  request.mutable_sampling()->set_temperature(1.5f);
  request.mutable_sampling()->set_seed(1);
  const Output one = Generate(request);
  EXPECT_EQ(Generate(request).ids, one.ids);
  request.mutable_sampling()->set_seed(2);
  EXPECT_NE(Generate(request).ids, one.ids);
}

TEST_F(InferenceServiceTest, GetModelSaysWhatIsServedAndOpensItsNamespace) {
  const auto model = client_.GetModel(kTestTimeout);
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ(model->name(), "tiny");
  EXPECT_EQ(model->architecture(), "LlamaForCausalLM");
  EXPECT_EQ(model->max_positions(), 512);
  EXPECT_EQ(model->vocab_size(), 259);
  EXPECT_EQ(model->identity().layout().block_tokens(), kTestBlockTokens);
  const auto models = client_.ListModels(kTestTimeout);
  ASSERT_TRUE(models.ok()) << models.status();
  ASSERT_EQ(models->models_size(), 1);
  EXPECT_EQ(models->models(0).SerializeAsString(), model->SerializeAsString());
  // Blocks that the engine made are matched through the Cache service under that identity.
  const v1::GenerateRequest request = TextRequest(std::string(40, 'z'), 1);
  Generate(request);
  CacheClient cache = server_.cache();
  const auto ns = cache.OpenNamespace(model->identity(), kTestTimeout);
  ASSERT_TRUE(ns.ok()) << ns.status();
  v1::TokenizeRequest tokenize;
  tokenize.set_text(request.text());
  const auto ids = client_.Tokenize(tokenize, kTestTimeout);
  EXPECT_EQ(cache.Match(ns->namespace_id(), *ids, kTestTimeout)->ram_blocks(), 5);
}

TEST_F(InferenceServiceTest, StatsCountTheEnginesWork) {
  Generate(TextRequest("count me", 5));
  const auto stats = server_.cache().Stats(kTestTimeout);
  ASSERT_TRUE(stats.ok());
  EXPECT_EQ(stats->engine().at("finished_requests"), 1);
  EXPECT_EQ(stats->engine().at("prompt_tokens"), 8);
  EXPECT_EQ(stats->engine().size(), sizeof(engine::EngineStats) / sizeof(int64_t));
}

TEST_F(InferenceServiceTest, ManyClientsGetTheTokensThatOneGets) {
  std::vector<Output> alone;
  for (int i = 0; i < 6; ++i) {
    alone.push_back(Generate(TextRequest(absl::StrCat("Client number ", i, " speaks"), 16)));
  }
  std::vector<Output> together(6);
  std::vector<std::thread> threads;
  for (int i = 0; i < 6; ++i) {
    threads.emplace_back([this, i, &together] {
      together[static_cast<size_t>(i)] =
          Generate(TextRequest(absl::StrCat("Client number ", i, " speaks"), 16));
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (size_t i = 0; i < 6; ++i) EXPECT_EQ(together[i].ids, alone[i].ids) << i;
}

// A context that outlasts any client.
class LongContextTest : public InferenceServiceTest {
 protected:
  LongContextTest()
      : InferenceServiceTest(
            {.ram_bytes = 32 << 20, .max_positions = 1 << 16, .max_running = 1, .max_waiting = 1}) {
  }

  // A call that would go on for very long.
  std::unique_ptr<grpc::ClientReader<v1::GenerateResponse>> StartEndless(
      grpc::ClientContext* context) {
    SetTimeout(2 * kTestTimeout, context);
    return stub_->Generate(context, TextRequest("Go on", 1 << 15));
  }
};

TEST_F(LongContextTest, AClientThatCancelsEndsItsRequest) {
  grpc::ClientContext context;
  const auto reader = StartEndless(&context);
  v1::GenerateResponse response;
  ASSERT_TRUE(reader->Read(&response));
  context.TryCancel();
  while (reader->Read(&response)) {
  }
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::CANCELLED);
  AwaitEnded(1);
  EXPECT_LT(server_.engine().stats().decoded_tokens, 1 << 14);
  EXPECT_EQ(Generate(TextRequest("Next", 3)).ids.size(), 3u);
}

TEST_F(LongContextTest, ADeadlineEndsTheRequest) {
  ASSERT_TRUE(client_.GetModel(kTestTimeout).ok());  // it is connected
  const auto summary = client_.Generate(TextRequest("Go on", 1 << 15), absl::Seconds(2),
                                        [](const v1::TokenChunk&) {});
  EXPECT_EQ(summary.status().code(), absl::StatusCode::kDeadlineExceeded);
  AwaitEnded(1);
  EXPECT_LT(server_.engine().stats().decoded_tokens, 1 << 14);
}

TEST_F(LongContextTest, AFullQueueIsResourceExhausted) {
  grpc::ClientContext running_context;
  const auto running = StartEndless(&running_context);
  v1::GenerateResponse response;
  ASSERT_TRUE(running->Read(&response));
  // One more waits; of these two, one is refused, whichever comes first.
  grpc::ClientContext contexts[2];
  std::unique_ptr<grpc::ClientReader<v1::GenerateResponse>> readers[2];
  grpc::Status statuses[2];
  std::vector<std::thread> threads;
  for (int i = 0; i < 2; ++i) {
    readers[i] = StartEndless(&contexts[i]);
    threads.emplace_back([i, &readers, &statuses, &contexts] {
      v1::GenerateResponse ignored;
      while (readers[i]->Read(&ignored)) {
      }
      statuses[i] = readers[i]->Finish();
      contexts[1 - i].TryCancel();  // the other one, which waits
    });
  }
  for (std::thread& thread : threads) thread.join();
  running_context.TryCancel();
  running->Finish();
  const int refused = statuses[0].error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED ? 0 : 1;
  EXPECT_EQ(statuses[refused].error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED)
      << statuses[refused].error_message();
  EXPECT_EQ(statuses[1 - refused].error_code(), grpc::StatusCode::CANCELLED);
  AwaitEnded(2);
}

TEST_F(LongContextTest, AClientThatDoesNotReadLosesItsCallAndHoldsUpNobody) {
  // A small flow control window, so that few tokens are under way.
  const auto stub = v1::Inference::NewStub(ConnectWithWindow(server_.address(), 1024));
  grpc::ClientContext context;
  SetTimeout(2 * kTestTimeout, &context);
  const auto reader = stub->Generate(&context, TextRequest("Go on", 1 << 15));
  AwaitEnded(1);
  // The server has given up on the call; now the client looks.
  v1::GenerateResponse response;
  int64_t received = 0;
  while (reader->Read(&response)) ++received;
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::CANCELLED);
  const int64_t decoded = server_.engine().stats().decoded_tokens;
  EXPECT_GE(decoded, kMaxUnsentChunks);
  EXPECT_LT(received, decoded);
  EXPECT_EQ(Generate(TextRequest("Next", 3)).ids.size(), 3u);
}

TEST_F(LongContextTest, ShutdownCancelsWhatGoesOnForTooLong) {
  grpc::ClientContext context;
  const auto reader = StartEndless(&context);
  v1::GenerateResponse response;
  ASSERT_TRUE(reader->Read(&response));
  server_.server().Shutdown(absl::Now());
  while (reader->Read(&response)) {
  }
  EXPECT_FALSE(reader->Finish().ok());
  AwaitEnded(1);
}

// RAM for 8 blocks of 8 tokens.
class TinyRamTest : public InferenceServiceTest {
 protected:
  TinyRamTest() : InferenceServiceTest({.ram_bytes = 8 * 4096}) {}
};

TEST_F(TinyRamTest, APromptThatNeedsMoreBlocksThanRamHasIsRefusedForGood) {
  const absl::Status status = GenerateError(TextRequest(std::string(100, 'a'), 4));
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << status;
  EXPECT_EQ(Generate(TextRequest("short", 4)).ids.size(), 4u);
}

TEST(NoModelTest, AServerWithoutAModelSaysSo) {
  const TestServer server({.max_positions = 0});
  InferenceClient client = server.inference();
  v1::GenerateRequest request;
  request.set_text("x");
  const auto generated = client.Generate(request, kTestTimeout, [](const v1::TokenChunk&) {});
  EXPECT_EQ(generated.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(generated.status().message()), HasSubstr("--model"));
  EXPECT_EQ(client.GetModel(kTestTimeout).status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(client.Tokenize({}, kTestTimeout).status().code(),
            absl::StatusCode::kFailedPrecondition);
  const auto models = client.ListModels(kTestTimeout);
  ASSERT_TRUE(models.ok()) << models.status();
  EXPECT_EQ(models->models_size(), 0);
}

TEST_F(InferenceServiceTest, TheStoreHearsOfEachRequestOnceAndOfItsEnd) {
  using cachestore::RequestHints;
  const auto seen = std::make_shared<cachestore::SeenRequests>();
  server_.store().Watch(seen);
  v1::GenerateRequest request = TextRequest("once upon a time there was a cache of blocks", 12);
  request.mutable_hints()->set_session("s");
  request.set_num_samples(2);
  // The second time from the cache; it may look up twice, when it follows.
  for (int i = 0; i < 2; ++i) {
    Generate(request);
    const auto requests = seen->TakeRequests();
    ASSERT_EQ(requests.size(), 1u);
    EXPECT_NE(requests[0].hints.session, 0u);
    EXPECT_NE(requests[0].hints.request, 0u);
    EXPECT_GT(requests[0].asked_blocks, 0u);
    EXPECT_EQ(requests[0].matched_blocks, i == 0 ? 0u : requests[0].asked_blocks);
    const auto ends = seen->TakeEnds();
    ASSERT_EQ(ends.size(), 2u);  // of each sample
    for (const auto& end : ends) {
      EXPECT_EQ(end.end.output_tokens, 12);
      EXPECT_EQ(end.end.hints.ending, RequestHints::Ending::kOther);  // max_new_tokens
      EXPECT_GT(end.keys.size(), requests[0].asked_blocks);
    }
  }
  request.mutable_hints()->set_turn(-1);
  EXPECT_EQ(GenerateError(request).code(), absl::StatusCode::kInvalidArgument);
  request.mutable_hints()->clear_turn();
  request.set_cache_use(v1::CACHE_USE_OFF);
  Generate(request);
  EXPECT_TRUE(seen->TakeRequests().empty());
  EXPECT_TRUE(seen->TakeEnds().empty());
}

}  // namespace
}  // namespace reprise::api
