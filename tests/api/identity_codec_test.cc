#include "api/identity_codec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <limits>
#include <string>

#include "api/hints_codec.h"

namespace reprise::api {
namespace {

using ::testing::HasSubstr;

cachestore::NamespaceIdentity Identity() {
  cachestore::NamespaceIdentity identity;
  identity.model_digest = "m";
  identity.tokenizer_digest = "t";
  identity.adapter_digest = "a";
  identity.layout = {.num_layers = 3,
                     .num_kv_heads = 2,
                     .head_dim = 16,
                     .block_tokens = 8,
                     .dtype = cachestore::DType::kBF16};
  identity.first_layer = 5;
  identity.kv_scales = "none";
  identity.position_scheme = "learned";
  identity.tensor_parallel_rank = 1;
  identity.tensor_parallel_size = 2;
  identity.pipeline_parallel_rank = 2;
  identity.pipeline_parallel_size = 4;
  identity.tenant = "alice";
  identity.salt = "s";
  identity.key_source = cachestore::KeySource::kExternal;
  return identity;
}

TEST(IdentityCodecTest, EveryFieldSurvivesTheMessageAndItsJson) {
  const v1::NamespaceIdentity message = ToProto(Identity());
  const auto back = FromProto(message);
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(*back, Identity());
  const auto from_json = IdentityFromJson(ToJson(message));
  ASSERT_TRUE(from_json.ok()) << from_json.status();
  EXPECT_EQ(from_json->SerializeAsString(), message.SerializeAsString());
}

TEST(IdentityCodecTest, AnyMissingFieldIsRefused) {
  using Clear = std::function<void(v1::NamespaceIdentity&)>;
  const Clear clears[] = {
      [](auto& m) { m.clear_model_digest(); },
      [](auto& m) { m.clear_tokenizer_digest(); },
      [](auto& m) { m.clear_adapter_digest(); },
      [](auto& m) { m.clear_layout(); },
      [](auto& m) { m.mutable_layout()->clear_num_layers(); },
      [](auto& m) { m.mutable_layout()->clear_num_kv_heads(); },
      [](auto& m) { m.mutable_layout()->clear_head_dim(); },
      [](auto& m) { m.mutable_layout()->clear_block_tokens(); },
      [](auto& m) { m.mutable_layout()->clear_dtype(); },
      [](auto& m) { m.clear_kv_scales(); },
      [](auto& m) { m.clear_position_scheme(); },
      [](auto& m) { m.clear_tensor_parallel_size(); },
      [](auto& m) { m.clear_pipeline_parallel_size(); },
      [](auto& m) { m.clear_tenant(); },
  };
  for (size_t i = 0; i < std::size(clears); ++i) {
    v1::NamespaceIdentity message = ToProto(Identity());
    clears[i](message);
    EXPECT_EQ(FromProto(message).status().code(), absl::StatusCode::kInvalidArgument) << i;
  }
  v1::NamespaceIdentity no_salt = ToProto(Identity());
  no_salt.clear_salt();
  EXPECT_TRUE(FromProto(no_salt).ok());
}

TEST(IdentityCodecTest, AnUnknownElementTypeIsRefused) {
  v1::NamespaceIdentity message = ToProto(Identity());
  message.mutable_layout()->set_dtype(static_cast<v1::DType>(77));
  EXPECT_THAT(std::string(FromProto(message).status().message()), HasSubstr("77"));
}

TEST(IdentityCodecTest, JsonThatIsNoIdentityIsRefusedWithTheCause) {
  EXPECT_EQ(IdentityFromJson("{").status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(IdentityFromJson("{\"modle_digest\": \"x\"}").status().message()),
              HasSubstr("modle_digest"));
}

// ---- Hints.

using cachestore::RequestHints;
using Ending = RequestHints::Ending;

TEST(HintsCodecTest, EveryFieldComesThrough) {
  v1::CacheHints message;
  const RequestHints none = HintsFrom(message, LocalOperator()).value();
  EXPECT_EQ(none.use, RequestHints::Use::kRequest);
  EXPECT_EQ(none.session, 0u);
  EXPECT_EQ(none.turn, -1);
  EXPECT_FALSE(none.reuse_probability || none.next_use || none.ttl);
  message.set_session("s");
  message.set_turn(3);
  message.set_finish_reason("tool_use");
  message.set_session_closed(true);
  message.set_waiting_requests(4);
  message.set_reuse_probability(0);
  message.set_reuse_in_seconds(0.5);
  message.set_priority(-100);
  message.set_ttl_seconds(60);
  const RequestHints hints = HintsFrom(message, LocalOperator()).value();
  EXPECT_NE(hints.session, 0u);
  EXPECT_EQ(hints.turn, 3);
  EXPECT_EQ(hints.ending, Ending::kToolUse);
  EXPECT_TRUE(hints.session_closed);
  EXPECT_EQ(hints.waiting_requests, 4);
  EXPECT_EQ(hints.reuse_probability, 0);
  EXPECT_EQ(hints.next_use, absl::Milliseconds(500));
  EXPECT_EQ(hints.priority, -100);
  EXPECT_EQ(hints.ttl, absl::Minutes(1));
}

TEST(HintsCodecTest, EndingsAreKnownInTheWordsOfSeveralInterfaces) {
  const auto ending = [](const std::string& name) {
    v1::CacheHints message;
    message.set_finish_reason(name);
    return HintsFrom(message, LocalOperator())->ending;
  };
  EXPECT_EQ(ending(""), Ending::kUnknown);
  EXPECT_EQ(ending("tool_calls"), Ending::kToolUse);
  EXPECT_EQ(ending("end_turn"), Ending::kEndTurn);
  EXPECT_EQ(ending("stop"), Ending::kEndTurn);
  EXPECT_EQ(ending("max_tokens"), Ending::kOther);
}

TEST(HintsCodecTest, WhatIsOutOfRangeIsRefusedByName) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const double infinity = std::numeric_limits<double>::infinity();
  using Set = std::function<void(v1::CacheHints&)>;
  const std::pair<const char*, Set> wrong[] = {
      {"hints.turn is -1", [](auto& m) { m.set_turn(-1); }},
      {"hints.waiting_requests", [](auto& m) { m.set_waiting_requests(-1); }},
      {"hints.reuse_probability", [](auto& m) { m.set_reuse_probability(1.01); }},
      {"hints.reuse_probability", [](auto& m) { m.set_reuse_probability(-0.01); }},
      {"hints.reuse_probability", [&](auto& m) { m.set_reuse_probability(nan); }},
      {"hints.reuse_in_seconds", [](auto& m) { m.set_reuse_in_seconds(-1); }},
      {"hints.reuse_in_seconds", [&](auto& m) { m.set_reuse_in_seconds(infinity); }},
      {"hints.ttl_seconds", [](auto& m) { m.set_ttl_seconds(-0.5); }},
      {"hints.ttl_seconds", [&](auto& m) { m.set_ttl_seconds(nan); }},
      {"hints.priority is 101", [](auto& m) { m.set_priority(101); }},
      {"hints.priority", [](auto& m) { m.set_priority(std::numeric_limits<int32_t>::min()); }},
  };
  for (const auto& [field, set] : wrong) {
    v1::CacheHints message;
    set(message);
    const absl::Status refused = HintsFrom(message, LocalOperator()).status();
    EXPECT_EQ(refused.code(), absl::StatusCode::kInvalidArgument) << field;
    EXPECT_THAT(std::string(refused.message()), HasSubstr(field));
  }
}

TEST(HintsCodecTest, SessionsAreATenantsOwnAndOnlyAdminsGoBeforeOthers) {
  v1::CacheHints message;
  message.set_session("s");
  message.set_priority(5);
  const Principal alice = {.name = "a", .tenant = "alice"};
  const Principal bob = {.name = "b", .tenant = "bob"};
  EXPECT_EQ(HintsFrom(message, alice)->session, HintsFrom(message, alice)->session);
  EXPECT_NE(HintsFrom(message, alice)->session, HintsFrom(message, bob)->session);
  EXPECT_EQ(HintsFrom(message, alice)->priority, 0);
  EXPECT_EQ(HintsFrom(message, LocalOperator())->priority, 5);
}

TEST(HintsCodecTest, AConversationTellsItsTurnAndWhetherAToolHasAnswered) {
  v1::Conversation conversation;
  const auto after = [&](const char* role) {
    conversation.add_messages()->set_role(role);
    RequestHints hints;
    AddHintsOf(conversation, &hints);
    return hints;
  };
  EXPECT_EQ(after("user").turn, 1);
  EXPECT_EQ(after("assistant").turn, 2);
  EXPECT_EQ(after("tool").ending, Ending::kToolUse);
  after("assistant");
  const RequestHints third = after("user");
  EXPECT_EQ(third.turn, 3);
  EXPECT_EQ(third.ending, Ending::kEndTurn);
  RequestHints told = {.ending = Ending::kOther, .turn = 9};
  AddHintsOf(conversation, &told);
  EXPECT_EQ(told.turn, 9);
  EXPECT_EQ(told.ending, Ending::kOther);
}

}  // namespace
}  // namespace reprise::api
