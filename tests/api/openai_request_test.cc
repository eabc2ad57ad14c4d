#include "api/http/openai_request.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "api/http/openai_error.h"
#include "api/http/raw_member.h"

namespace reprise::api {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr char kMessages[] = R"("messages":[{"role":"user","content":"Hi"}])";

OpenAiCall Chat(const std::string& more) {
  auto call = ParseOpenAiCall(OpenAiEndpoint::kChat, absl::StrCat("{", kMessages, more, "}"));
  EXPECT_TRUE(call.ok()) << call.status();
  return *std::move(call);
}

OpenAiCall Completions(const std::string& body) {
  auto call = ParseOpenAiCall(OpenAiEndpoint::kCompletions, body);
  EXPECT_TRUE(call.ok()) << call.status();
  return *std::move(call);
}

// The error object that `body` is answered with.
nlohmann::json Refused(OpenAiEndpoint endpoint, const std::string& body) {
  const auto call = ParseOpenAiCall(endpoint, body);
  EXPECT_FALSE(call.ok()) << body;
  if (call.ok()) return {};
  EXPECT_EQ(OpenAiErrorResponse(call.status()).status, 400) << body;
  return nlohmann::json::parse(OpenAiErrorJson(call.status()))["error"];
}

nlohmann::json RefusedChat(const std::string& more) {
  return Refused(OpenAiEndpoint::kChat, absl::StrCat("{", kMessages, more, "}"));
}

TEST(OpenAiRequestTest, WhatIsNotSaidIsAsOpenAiSays) {
  const OpenAiCall call = Chat("");
  ASSERT_EQ(call.prompts.size(), 1u);
  const v1::GenerateRequest& request = call.prompts[0];
  EXPECT_EQ(request.conversation().messages(0).role(), "user");
  EXPECT_EQ(request.conversation().messages(0).content(), "Hi");
  EXPECT_EQ(request.conversation().template_variables(), "");
  EXPECT_EQ(request.sampling().temperature(), 1);
  EXPECT_FALSE(request.sampling().has_top_p());
  EXPECT_EQ(request.stop().max_new_tokens(), 0);
  EXPECT_EQ(call.num_samples(), 1);
  EXPECT_FALSE(call.has_seed);
  EXPECT_FALSE(call.stream);
  EXPECT_FALSE(call.wants_logprobs());
}

TEST(OpenAiRequestTest, EveryParameterReachesItsField) {
  const OpenAiCall call = Chat(R"(,"model":"m","n":3,"temperature":0.25,"top_p":0.5,"seed":-1,
      "max_completion_tokens":7,"stop":["a","b"],"presence_penalty":1,"frequency_penalty":-1,
      "logit_bias":{"5":-100},"logprobs":true,"top_logprobs":4,"stream":true,
      "stream_options":{"include_usage":true},"user":"u","top_k":9,"min_p":0.5,
      "repetition_penalty":1.5,"stop_token_ids":[3],"ignore_eos":true,"cache_salt":"s",
      "priority":-2,"session_closed":true)");
  EXPECT_EQ(call.model, "m");
  EXPECT_TRUE(call.stream);
  EXPECT_TRUE(call.include_usage);
  EXPECT_TRUE(call.has_seed);
  const v1::GenerateRequest& request = call.prompts[0];
  EXPECT_EQ(request.num_samples(), 3);
  EXPECT_EQ(request.sampling().temperature(), 0.25f);
  EXPECT_EQ(request.sampling().top_p(), 0.5f);
  EXPECT_EQ(request.sampling().seed(), ~uint64_t{0});
  EXPECT_EQ(request.sampling().presence_penalty(), 1);
  EXPECT_EQ(request.sampling().frequency_penalty(), -1);
  EXPECT_EQ(request.sampling().logit_bias().at(5), -100);
  EXPECT_EQ(request.sampling().top_logprobs(), 4);
  EXPECT_EQ(request.sampling().top_k(), 9);
  EXPECT_EQ(request.sampling().min_p(), 0.5f);
  EXPECT_EQ(request.sampling().repetition_penalty(), 1.5f);
  EXPECT_EQ(request.stop().max_new_tokens(), 7);
  EXPECT_THAT(request.stop().strings(), ElementsAre("a", "b"));
  EXPECT_THAT(request.stop().token_ids(), ElementsAre(3u));
  EXPECT_TRUE(request.stop().ignore_eos());
  EXPECT_EQ(request.hints().session(), "u");
  EXPECT_TRUE(request.hints().session_closed());
  EXPECT_EQ(request.salt(), "s");
  EXPECT_EQ(request.priority(), -2);
}

TEST(OpenAiRequestTest, PromptsAreTextsOrTokenIdsOneOrSeveral) {
  EXPECT_EQ(Completions(R"({"prompt":"a"})").prompts[0].text(), "a");
  EXPECT_THAT(Completions(R"({"prompt":[1,2]})").prompts[0].token_ids().ids(), ElementsAre(1u, 2u));
  const OpenAiCall texts = Completions(R"({"prompt":["a","b"],"logprobs":2})");
  ASSERT_EQ(texts.prompts.size(), 2u);
  EXPECT_EQ(texts.prompts[1].text(), "b");
  EXPECT_EQ(texts.prompts[1].sampling().top_logprobs(), 2);
  const OpenAiCall ids = Completions(R"({"prompt":[[1],[2,3]]})");
  ASSERT_EQ(ids.prompts.size(), 2u);
  EXPECT_THAT(ids.prompts[1].token_ids().ids(), ElementsAre(2u, 3u));
  for (const char* prompt : {"[]", "{}", "[[]]", "[1,\"a\"]", "[1.5]", "[-1]", "7"}) {
    EXPECT_EQ(
        Refused(OpenAiEndpoint::kCompletions, absl::StrCat("{\"prompt\":", prompt, "}"))["param"],
        "prompt")
        << prompt;
  }
}

TEST(OpenAiRequestTest, ToolsReachTheTemplateAsTheyWereWritten) {
  // The order of members, which a template shows, and no white space changed.
  const std::string tools = R"([{"type": "function", "function": {"name":"f", "b":1, "a":2}}])";
  EXPECT_EQ(
      Chat(absl::StrCat(",\"tools\" : ", tools)).prompts[0].conversation().template_variables(),
      absl::StrCat("{\"tools\":", tools, "}"));
  EXPECT_EQ(Chat(absl::StrCat(",\"tools\":", tools, R"(,"chat_template_kwargs":{"x":true})"))
                .prompts[0]
                .conversation()
                .template_variables(),
            absl::StrCat("{\"tools\":", tools, ",\"x\":true}"));
  EXPECT_EQ(Chat(absl::StrCat(",\"tool_choice\":\"none\",\"tools\":", tools))
                .prompts[0]
                .conversation()
                .template_variables(),
            "");
  EXPECT_EQ(RefusedChat(R"(,"tool_choice":"required")")["param"], "tool_choice");
}

TEST(OpenAiRequestTest, TheLastOfAMembersValuesIsTaken) {
  EXPECT_EQ(RawMember(R"({"a":1, "b" : {"a":[2,"}"]} ,"\u0061": "x\"," })", "a"), R"("x\",")");
  EXPECT_EQ(RawMember(R"({"a":1, "b" : {"a":[2,"}"]} })", "b"), R"({"a":[2,"}"]})");
  EXPECT_EQ(RawMember(R"({"b":1})", "a"), "");
  EXPECT_EQ(RawMember("{}", "a"), "");
}

TEST(OpenAiRequestTest, PartsOfAContentAreLinesOfText) {
  const auto call =
      ParseOpenAiCall(OpenAiEndpoint::kChat,
                      R"({"messages":[{"role":"developer","content":"S"},{"role":"user","content":
          [{"type":"text","text":"a"},{"type":"text","text":"b"}]}]})");
  ASSERT_TRUE(call.ok()) << call.status();
  EXPECT_EQ(call->prompts[0].conversation().messages(0).role(), "system");
  EXPECT_EQ(call->prompts[0].conversation().messages(1).content(), "a\nb");
  const nlohmann::json image = Refused(
      OpenAiEndpoint::kChat,
      R"({"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"x"}}]}]})");
  EXPECT_EQ(image["param"], "messages[0].content[0].type");
}

// The conversation of a request with these messages.
absl::StatusOr<OpenAiCall> WithMessages(const std::string& messages) {
  return ParseOpenAiCall(OpenAiEndpoint::kChat, absl::StrCat("{\"messages\":[", messages, "]}"));
}

TEST(OpenAiRequestTest, CallsOfToolsAndTheirAnswersReachTheTemplate) {
  const auto call = WithMessages(
      R"({"role":"assistant","content":null,"tool_calls":[{"id":"c1","type":"function","index":0,
          "function":{"name":"a\"dd","arguments":"{\"b\": 1, \"a\": [2]}"}},
          {"function":{"name":"now","arguments":""}}]},
         {"role":"tool","tool_call_id":"c1","name":"add","content":"3"},
         {"role":"user","name":"ann","content":"so?"})");
  ASSERT_TRUE(call.ok()) << call.status();
  const v1::Conversation& conversation = call->prompts[0].conversation();
  EXPECT_EQ(conversation.messages(0).content(), "");
  EXPECT_EQ(
      conversation.messages(0).members(),
      R"({"tool_calls":[{"id":"c1","type":"function","function":{"name":"a\"dd","arguments":)"
      R"({"b": 1, "a": [2]}}},{"type":"function","function":{"name":"now","arguments":{}}}]})");
  EXPECT_EQ(conversation.messages(1).members(), R"({"name":"add","tool_call_id":"c1"})");
  EXPECT_EQ(conversation.messages(2).members(), "");
  const std::pair<const char*, const char*> wrong[] = {
      {R"({"role":"assistant"})", "messages[0].content"},
      {R"({"role":"user","content":"a","tool_call_id":"c"})", "messages[0].tool_call_id"},
      {R"({"role":"assistant","tool_calls":[{"function":{"name":"f","arguments":"[1]"}}]})",
       "messages[0].tool_calls[0].function.arguments"},
      {R"({"role":"assistant","tool_calls":[{"function":{"arguments":"{}"}}]})",
       "messages[0].tool_calls[0].function.name"},
      {R"({"role":"assistant","tool_calls":[{"type":"custom","custom":{}}]})",
       "messages[0].tool_calls[0].type"},
  };
  for (const auto& [message, param] : wrong) {
    EXPECT_THAT(std::string(WithMessages(message).status().message()), HasSubstr(param));
  }
}

TEST(OpenAiRequestTest, WhatWouldChangeTheAnswerIsRefusedByName) {
  const std::pair<const char*, const char*> cases[] = {
      {R"("response_format":{"type":"json_object"})", "response_format"},
      {R"("functions":[])", "functions"},
      {R"("reasoning_effort":"low")", "reasoning_effort"},
      {R"("tool_choice":{"type":"function"})", "tool_choice"},
      {R"("echo":true)", "echo"},
      {R"("suffix":"x")", "suffix"},
      {R"("best_of":4)", "best_of"},
      {R"("stream_options":{"x":1},"stream":true)", "stream_options.x"},
      {R"("stream_options":{})", "stream_options"},
      {R"("top_logprobs":3)", "top_logprobs"},
      {R"("temprature":1)", "temprature"},
      {R"("tenant":"other")", "tenant"},
  };
  for (const auto& [member, param] : cases) {
    const nlohmann::json error = RefusedChat(absl::StrCat(",", member));
    EXPECT_EQ(error["param"], param) << member;
    EXPECT_EQ(error["type"], "invalid_request_error");
    EXPECT_THAT(error["message"].get<std::string>(), HasSubstr(param));
  }
}

TEST(OpenAiRequestTest, WhatAsksForNothingElseIsTaken) {
  Chat(R"(,"response_format":{"type":"text"},"modalities":["text"],"echo":false,"suffix":null,
       "best_of":1,"logprobs":false,"top_logprobs":0,"functions":null,"tools":[],"metadata":{},
       "parallel_tool_calls":true,"service_tier":"auto","store":false,"safety_identifier":"x",
       "prediction":{"type":"content","content":"x"},"prompt_cache_retention":"24h")");
}

TEST(OpenAiRequestTest, TypesAndRangesAreChecked) {
  const std::pair<const char*, const char*> cases[] = {
      {R"("temperature":"hot")", "temperature"},
      {R"("temperature":1e300)", "temperature"},
      {R"("max_tokens":0)", "max_tokens"},
      {R"("max_tokens":1.5)", "max_tokens"},
      {R"("max_tokens":4294967296)", "max_tokens"},
      {R"("n":0)", "n"},
      {R"("n":129)", "n"},
      {R"("seed":18446744073709551615)", "seed"},
      {R"("stop":[1])", "stop"},
      {R"("stop":{})", "stop"},
      {R"("logit_bias":{"x":1})", "logit_bias"},
      {R"("logit_bias":{"1":"a"})", "logit_bias.1"},
      {R"("stream":1)", "stream"},
      {R"("tools":{})", "tools"},
      {R"("stop_token_ids":[-1])", "stop_token_ids"},
      {R"("model":5)", "model"},
  };
  for (const auto& [member, param] : cases) {
    EXPECT_EQ(RefusedChat(absl::StrCat(",", member))["param"], param) << member;
  }
  EXPECT_EQ(Refused(OpenAiEndpoint::kChat, "{}")["param"], "messages");
  EXPECT_EQ(Refused(OpenAiEndpoint::kChat, R"({"messages":[{"role":"user"}]})")["param"],
            "messages[0].content");
  EXPECT_TRUE(Refused(OpenAiEndpoint::kChat, "[1]")["param"].is_null());
  EXPECT_TRUE(Refused(OpenAiEndpoint::kChat, "{\"messages\":")["param"].is_null());
  EXPECT_TRUE(Refused(OpenAiEndpoint::kChat, std::string(5000, '['))["param"].is_null());
}

TEST(OpenAiErrorTest, EachCodeHasItsStatusAndWhoMayRetryIsToldWhen) {
  const HttpResponse busy = OpenAiErrorResponse(absl::ResourceExhaustedError("full"));
  EXPECT_EQ(busy.status, 429);
  EXPECT_THAT(busy.headers, ElementsAre(std::pair<std::string, std::string>("Retry-After", "1")));
  EXPECT_EQ(OpenAiErrorJson(absl::ResourceExhaustedError("full")),
            R"({"error":{"message":"full","type":"rate_limit_error","param":null,)"
            R"("code":"rate_limit_exceeded"}})");
  EXPECT_EQ(OpenAiErrorResponse(absl::UnauthenticatedError("x")).status, 401);
  EXPECT_EQ(OpenAiErrorResponse(absl::PermissionDeniedError("x")).status, 403);
  EXPECT_EQ(OpenAiErrorResponse(absl::NotFoundError("x")).status, 404);
  EXPECT_EQ(OpenAiErrorResponse(absl::FailedPreconditionError("x")).status, 400);
  EXPECT_EQ(OpenAiErrorResponse(absl::UnavailableError("x")).status, 503);
  EXPECT_EQ(OpenAiErrorResponse(absl::InternalError("x")).status, 500);
  EXPECT_EQ(OpenAiErrorJson(absl::InvalidArgumentError("\xff")),
            "{\"error\":{\"message\":\"\xef\xbf\xbd\",\"type\":\"invalid_request_error\","
            "\"param\":null,\"code\":null}}");
}

}  // namespace
}  // namespace reprise::api
