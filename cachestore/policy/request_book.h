// RequestBook: the requests whose blocks are still watched, and the conversations whose turns they
// are. A request is known by what was seen of it when it came, as features for the ReuseModel; it
// stays as long as groups of blocks refer to it, and a conversation as long as its requests. A
// session that the caller names is remembered as long as the conversation that went on last under
// that name. Thread-compatible.
#pragma once

#include <array>
#include <cstdint>

#include "absl/container/flat_hash_map.h"
#include "cachestore/policy/id_table.h"
#include "cachestore/policy/request_hints.h"
#include "cachestore/policy/reuse_model.h"

namespace reprise::cachestore {

using RequestId = uint32_t;
using GroupId = uint32_t;
inline constexpr RequestId kNoRequest = 0xffffffff;
inline constexpr GroupId kNoGroup = 0xffffffff;

// What is known of a request when it comes, in tokens and seconds.
struct RequestTraits {
  int64_t used_us = 0;
  uint32_t namespace_id = 0;
  int64_t block_tokens = 0;  // 0: not known
  int64_t prompt_tokens = 0;
  int64_t known_tokens = 0;  // of them, in blocks that some request had used before
  int32_t prompt_blocks = 0;
  bool has_partial_tail = false;  // the last block is not full
};

struct Conversation {
  int64_t used_us = 0;      // when its last request came
  float smoothed_gap = -1;  // seconds between turns; negative before the second one
  float largest_gap = -1;
  int32_t turn = 0;          // of the last request, from 1, of those that were seen
  int32_t unseen_turns = 0;  // that the caller tells of besides
  int32_t blocks = 0;        // of its prompt and what came after
  RequestId last = kNoRequest;
  uint32_t requests = 0;      // that are still watched
  int32_t prompt_blocks = 0;  // as RequestTraits, of the last request
  bool has_partial_tail = false;
  uint64_t session = 0;                      // as RequestBook names it; 0: not told
  std::array<GroupId, kNumUseRoles> groups;  // of the last request, by role
};

struct Request {
  uint64_t first_number = 0;  // its groups' numbers begin here
  uint32_t conversation = 0;
  uint32_t groups = 0;  // that refer to it
  Features features = {};
  int32_t block_tokens = 0;     // 0: not known
  uint64_t told_number = 0;     // the caller's for it; 0: not told
  bool is_open = false;         // the caller told of it, and not yet of its end
  int8_t priority = 0;          // the caller's, kMaxPriority either way at most
  float told_probability = -1;  // of another use, by the caller; negative: not told
  float told_seconds = 0;       // until then
  float ttl_seconds = 0;        // 0: none
};

class RequestBook {
 public:
  // A priority of more, or of less than its negative, counts as this one.
  static constexpr int kMaxPriority = 16;
  // Groups of one request have numbers of their own.
  static constexpr uint64_t kNumbersPerRequest = 16;

  // The last request of the conversation that went on last in the session that is told, if the
  // turn that is told is its next one; else kNoRequest.
  RequestId TurnBefore(uint32_t namespace_id, const RequestHints& hints) const;
  // The request of a conversation's next turn; of a new conversation after kNoRequest. It is gone
  // with its last group (RemoveGroup).
  RequestId Begin(RequestId turn_before, const RequestTraits& traits, const RequestHints& hints);
  // Another request that stands for the same turn, with groups of its own.
  RequestId Continue(RequestId request);
  // What is known at the end of it.
  void End(RequestId request, const RequestEnd& end);

  const Request& at(RequestId id) const { return requests_[id]; }
  const Conversation& conversation_of(RequestId id) const {
    return conversations_[requests_[id].conversation];
  }
  Conversation& conversation_of(RequestId id) { return conversations_[requests_[id].conversation]; }
  // Whether it is the last one of its conversation.
  bool IsLast(RequestId id) const { return conversation_of(id).last == id; }

  void AddGroup(RequestId id) { ++requests_[id].groups; }
  // One of its groups is gone, and it with its last one.
  void RemoveGroup(RequestId id);

 private:
  // Where a session is: the last turn that the caller told of.
  struct SessionTurn {
    uint32_t conversation = 0;
    int32_t turn = 0;
  };

  // The name of the session in the namespace; 0: session or turn is not told.
  static uint64_t SessionOf(uint32_t namespace_id, const RequestHints& hints);

  RequestId NewRequest();
  void Remember(Request& request, const RequestHints& hints);
  // The session, if it is one, is at this turn of the conversation now.
  void RememberSession(uint64_t session, uint32_t conversation, int32_t turn);
  void ForgetSessionOf(uint32_t conversation);

  IdTable<Request> requests_;
  IdTable<Conversation> conversations_;
  absl::flat_hash_map<uint64_t, SessionTurn> sessions_;  // of conversations that are there
  uint64_t next_number_ = 0;
};

}  // namespace reprise::cachestore
