#include "api/hints_codec.h"

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "api/session/reader_hints.h"
#include "cachestore/base/hash.h"
#include "cachestore/base/status_macros.h"
#include "engine/sched/request.h"

namespace reprise::api {
namespace {

using cachestore::RequestHints;
using Ending = RequestHints::Ending;

absl::Status OutOfRange(absl::string_view field, double value, absl::string_view allowed) {
  return absl::InvalidArgumentError(
      absl::StrCat("hints.", field, " is ", value, "; it must ", allowed));
}

absl::Status CheckNotNegative(absl::string_view field, double value) {
  if (std::isfinite(value) && value >= 0) return absl::OkStatus();
  return OutOfRange(field, value, "be finite and not negative");
}

absl::Status Check(const v1::CacheHints& message) {
  RETURN_IF_ERROR(CheckNotNegative("turn", message.turn()));
  RETURN_IF_ERROR(CheckNotNegative("waiting_requests", message.waiting_requests()));
  RETURN_IF_ERROR(CheckNotNegative("reuse_in_seconds", message.reuse_in_seconds()));
  RETURN_IF_ERROR(CheckNotNegative("ttl_seconds", message.ttl_seconds()));
  const double probability = message.reuse_probability();
  // Written so that what is no number is refused too.
  if (!(probability >= 0 && probability <= 1)) {
    return OutOfRange("reuse_probability", probability, "be from 0 to 1");
  }
  if (std::abs(int64_t{message.priority()}) > engine::kMaxPriority) {
    return OutOfRange(
        "priority", message.priority(),
        absl::StrCat("be from ", -engine::kMaxPriority, " to ", engine::kMaxPriority));
  }
  return absl::OkStatus();
}

// In the words of Anthropic's and OpenAI's interfaces, and ours.
Ending EndingOf(absl::string_view finish_reason) {
  if (finish_reason.empty()) return Ending::kUnknown;
  for (const absl::string_view name : {"tool_use", "tool_calls", "function_call"}) {
    if (finish_reason == name) return Ending::kToolUse;
  }
  for (const absl::string_view name :
       {"end_turn", "stop", "stop_sequence", "stop token", "stop string"}) {
    if (finish_reason == name) return Ending::kEndTurn;
  }
  return Ending::kOther;
}

uint64_t SessionHash(absl::string_view tenant, absl::string_view session) {
  if (session.empty()) return 0;
  const std::string name = absl::StrCat(tenant, absl::string_view("\0", 1), session);
  const uint64_t hash = cachestore::HashBytes64(
      absl::MakeConstSpan(reinterpret_cast<const std::byte*>(name.data()), name.size()));
  return std::max<uint64_t>(hash, 1);
}

}  // namespace

absl::StatusOr<RequestHints> HintsFrom(const v1::CacheHints& message, const Principal& principal,
                                       absl::string_view tenant) {
  RETURN_IF_ERROR(Check(message));
  RequestHints hints;
  hints.use = RequestHints::Use::kRequest;
  hints.ending = EndingOf(message.finish_reason());
  hints.session_closed = message.session_closed();
  hints.session = SessionHash(tenant, message.session());
  if (message.turn() > 0) hints.turn = message.turn();
  hints.waiting_requests = message.waiting_requests();
  hints.priority = PriorityFor(principal, message.priority());
  if (message.has_reuse_probability()) hints.reuse_probability = message.reuse_probability();
  if (message.has_reuse_in_seconds()) hints.next_use = absl::Seconds(message.reuse_in_seconds());
  if (message.ttl_seconds() > 0) hints.ttl = absl::Seconds(message.ttl_seconds());
  return hints;
}

absl::StatusOr<RequestHints> HintsFrom(const v1::CacheHints& message, const Principal& principal,
                                       const NamespaceRights& rights) {
  ASSIGN_OR_RETURN(const RequestHints hints, HintsFrom(message, principal));
  return rights.may_write ? hints : HintsOfReader(hints);
}

void AddHintsOf(const v1::Conversation& conversation, RequestHints* hints) {
  const auto& messages = conversation.messages();
  const auto answers =
      std::count_if(messages.begin(), messages.end(),
                    [](const v1::ChatMessage& message) { return message.role() == "assistant"; });
  if (hints->turn < 0) hints->turn = static_cast<int32_t>(answers) + 1;
  if (hints->ending != Ending::kUnknown || answers == 0) return;
  const std::string& last = messages.rbegin()->role();
  if (last == "tool") {
    hints->ending = Ending::kToolUse;
  } else if (last == "user") {
    hints->ending = Ending::kEndTurn;
  }
}

bool OffersTools(const v1::Conversation& conversation) {
  return absl::StrContains(conversation.template_variables(), "\"tools\"");
}

int32_t PriorityFor(const Principal& principal, int32_t asked) {
  return principal.admin ? asked : std::min(asked, 0);
}

}  // namespace reprise::api
