#include "cachestore/policy/request_book.h"

#include <algorithm>
#include <cmath>

#include "cachestore/base/check.h"

namespace reprise::cachestore {
namespace {

// Features by their place.
enum Feature {
  kNewTokens,
  kOutputTokens,
  kGap,
  kSmoothedGap,
  kPromptTokens,
  kKnownTokens,
  kTurnAndNewTokens,
  kLargestGap,
  kOutputAndGap,
  kEnding,
};
static_assert(kEnding == kNumFeatures - 1);

// Of a gap that is not known.
constexpr uint8_t kUnknown = kNumBins - 1;

// Tokens of the first bin: smaller differences say nothing.
constexpr double kTokensPerUnit = 64;

uint8_t LogBin(double value) {
  return static_cast<uint8_t>(std::min<double>(kNumBins - 1, std::log2(1 + std::max(0.0, value))));
}

uint8_t TokenBin(int64_t tokens) { return LogBin(static_cast<double>(tokens) / kTokensPerUnit); }

uint8_t GapBin(float seconds) {
  return seconds < 0 ? kUnknown : std::min<uint8_t>(kUnknown - 1, LogBin(seconds));
}

// Two features at a coarser scale, as one of 16 bins.
uint8_t Cross(int64_t high, int64_t low) {
  return static_cast<uint8_t>(std::min<int64_t>(high, 3) * 4 + std::min<int64_t>(low, 3));
}

void SetOutput(Features& features, int64_t output_tokens) {
  features[kOutputTokens] = LogBin(static_cast<double>(output_tokens));
  const bool has_gap = features[kGap] != kUnknown;
  features[kOutputAndGap] =
      Cross(features[kOutputTokens] / 3, has_gap ? std::min(2, features[kGap] / 4) : 3);
}

}  // namespace

RequestId RequestBook::NewRequest() {
  const RequestId id = requests_.Add();
  requests_[id].first_number = next_number_;
  next_number_ += kNumbersPerRequest;
  return id;
}

uint64_t RequestBook::SessionOf(uint32_t namespace_id, const RequestHints& hints) {
  if (hints.session == 0 || hints.turn <= 0) return 0;
  // The same session may be served in several namespaces side by side, as by ranks of a model.
  const uint64_t session = hints.session + namespace_id * 0x9e3779b97f4a7c15;
  return std::max<uint64_t>(session, 1);
}

RequestId RequestBook::TurnBefore(uint32_t namespace_id, const RequestHints& hints) const {
  const auto session = sessions_.find(SessionOf(namespace_id, hints));
  if (session == sessions_.end() || hints.turn - 1 != session->second.turn) return kNoRequest;
  return conversations_[session->second.conversation].last;
}

void RequestBook::RememberSession(uint64_t session, uint32_t id, int32_t turn) {
  if (session == 0) return;
  if (conversations_[id].session != session) ForgetSessionOf(id);
  conversations_[id].session = session;
  sessions_[session] = {.conversation = id, .turn = turn};
}

void RequestBook::ForgetSessionOf(uint32_t id) {
  const auto session = sessions_.find(conversations_[id].session);
  // Another conversation may have gone on under its name.
  if (session != sessions_.end() && session->second.conversation == id) sessions_.erase(session);
}

RequestId RequestBook::Begin(RequestId turn_before, const RequestTraits& traits,
                             const RequestHints& hints) {
  const RequestId id = NewRequest();
  Request& request = requests_[id];
  request.conversation =
      turn_before != kNoRequest ? requests_[turn_before].conversation : conversations_.Add();
  Conversation& conversation = conversations_[request.conversation];
  float gap = -1;
  if (conversation.turn > 0) {
    gap = static_cast<float>(traits.used_us - conversation.used_us) / 1e6f;
    conversation.smoothed_gap =
        conversation.turn == 1 ? gap : (conversation.smoothed_gap + gap) / 2;
    conversation.largest_gap = std::max(conversation.largest_gap, gap);
  }
  ++conversation.turn;
  // Its beginning was served elsewhere, or by another process, or is forgotten.
  conversation.unseen_turns = std::max(conversation.unseen_turns, hints.turn - conversation.turn);
  RememberSession(SessionOf(traits.namespace_id, hints), request.conversation, hints.turn);
  ++conversation.requests;
  conversation.used_us = traits.used_us;
  conversation.last = id;
  conversation.blocks = conversation.prompt_blocks = traits.prompt_blocks;
  conversation.has_partial_tail = traits.has_partial_tail;
  conversation.groups.fill(kNoGroup);

  const int64_t new_tokens = traits.prompt_tokens - traits.known_tokens;
  Features& features = request.features;
  features[kNewTokens] = TokenBin(new_tokens);
  features[kGap] = GapBin(gap);
  features[kSmoothedGap] = GapBin(conversation.smoothed_gap);
  features[kLargestGap] = GapBin(conversation.largest_gap);
  features[kPromptTokens] = TokenBin(traits.prompt_tokens);
  features[kKnownTokens] = TokenBin(traits.known_tokens);
  const int64_t turn = int64_t{conversation.turn} + conversation.unseen_turns;
  features[kTurnAndNewTokens] = Cross(turn - 1, TokenBin(new_tokens / 8) / 2);
  SetOutput(features, 0);
  request.block_tokens = static_cast<int32_t>(traits.block_tokens);
  request.told_number = hints.request;
  request.is_open = hints.use == RequestHints::Use::kRequest;
  Remember(request, hints);
  return id;
}

RequestId RequestBook::Continue(RequestId before) {
  const RequestId id = NewRequest();
  const uint64_t first_number = requests_[id].first_number;
  requests_[id] = requests_[before];
  requests_[id].first_number = first_number;
  requests_[id].groups = 0;
  Conversation& conversation = conversation_of(id);
  ++conversation.requests;
  conversation.last = id;
  conversation.groups.fill(kNoGroup);
  return id;
}

void RequestBook::End(RequestId id, const RequestEnd& end) {
  if (end.is_over()) requests_[id].is_open = false;
  // Before the end, the hints tell of the ending of another turn.
  if (end.hints.ending != RequestHints::Ending::kUnknown) {
    requests_[id].features[kEnding] = static_cast<uint8_t>(end.hints.ending);
  }
  if (end.output_tokens > 0) SetOutput(requests_[id].features, end.output_tokens);
  Remember(requests_[id], end.hints);
}

void RequestBook::Remember(Request& request, const RequestHints& hints) {
  if (hints.priority != 0) {
    request.priority = static_cast<int8_t>(std::clamp(hints.priority, -kMaxPriority, kMaxPriority));
  }
  if (hints.reuse_probability.has_value() || hints.next_use.has_value()) {
    request.told_probability =
        static_cast<float>(std::clamp(hints.reuse_probability.value_or(1.0), 0.0, 1.0));
    request.told_seconds = static_cast<float>(absl::ToDoubleSeconds(
        std::clamp(hints.next_use.value_or(absl::Minutes(1)), absl::Seconds(1), absl::Hours(24))));
  }
  if (hints.ttl.has_value()) {
    request.ttl_seconds = static_cast<float>(absl::ToDoubleSeconds(*hints.ttl));
  }
}

void RequestBook::RemoveGroup(RequestId id) {
  CHECK(requests_[id].groups > 0);
  if (--requests_[id].groups > 0) return;
  Conversation& conversation = conversation_of(id);
  if (conversation.last == id) conversation.last = kNoRequest;
  if (--conversation.requests == 0) {
    ForgetSessionOf(requests_[id].conversation);
    conversations_.Remove(requests_[id].conversation);
  }
  requests_.Remove(id);
}

}  // namespace reprise::cachestore
