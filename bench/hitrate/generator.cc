#include "bench/hitrate/generator.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <queue>
#include <random>
#include <vector>

namespace reprise::bench {
namespace {

using cachestore::BlockNumber;
using cachestore::kNoBlockNumber;
using cachestore::Trace;
using cachestore::TraceFinish;
using cachestore::TraceRequest;
using cachestore::TraceRequestType;

constexpr int64_t kBlockTokens = 512;
// Sessions end before their prompts are longer.
constexpr int64_t kMostTokens = 180'000;
constexpr int kNone = -1;

// The standard library's distributions are not the same everywhere.
class Chance {
 public:
  explicit Chance(uint64_t seed) : engine_(seed) {}
  // In [0, 1).
  double Uniform() { return static_cast<double>(engine_() >> 11) * 0x1p-53; }
  bool Is(double probability) { return Uniform() < probability; }
  // A mean of `mean`, at least 0.
  double Exponential(double mean) { return -mean * std::log(1 - Uniform()); }
  // Half of them above `median`; `spread`: standard deviation of the logarithm.
  double LogNormal(double median, double spread) {
    const double radius = std::sqrt(-2 * std::log(1 - Uniform()));
    return median * std::exp(spread * radius * std::cos(2 * std::numbers::pi * Uniform()));
  }

 private:
  std::mt19937_64 engine_;
};

// What the two kinds of sessions differ in. Times in ms, lengths in tokens.
struct Habits {
  double session_gap_ms;
  double first_tokens, turn_tokens, output_tokens;  // medians
  double one_turn;                                  // share of sessions with one
  double mean_turns;                                // of the others, beyond the second
  double tool_call, tool_gap_ms, person_gap_ms;
  double take_back, side_agent;
  double system_prompt;
  int64_t system_blocks;
  int num_system_prompts;
};
constexpr Habits kChatHabits = {.session_gap_ms = 900,
                                .first_tokens = 3000,
                                .turn_tokens = 400,
                                .output_tokens = 300,
                                .one_turn = 0.5,
                                .mean_turns = 3,
                                .tool_call = 0,
                                .tool_gap_ms = 0,
                                .person_gap_ms = 90'000,
                                .take_back = 0.02,
                                .side_agent = 0,
                                .system_prompt = 0.2,
                                .system_blocks = 3,
                                .num_system_prompts = 5};
constexpr Habits kAgentHabits = {.session_gap_ms = 45'000,
                                 .first_tokens = 4000,
                                 .turn_tokens = 900,
                                 .output_tokens = 250,
                                 .one_turn = 0.1,
                                 .mean_turns = 50,
                                 .tool_call = 0.85,
                                 .tool_gap_ms = 6000,
                                 .person_gap_ms = 120'000,
                                 .take_back = 0.03,
                                 .side_agent = 0.03,
                                 .system_prompt = 1,
                                 .system_blocks = 30,
                                 .num_system_prompts = 2};

// A session between two of its requests.
struct Session {
  double next_ms = 0;
  uint64_t number = 0;
  TraceRequestType type = TraceRequestType::kChat;
  int64_t turns_left = 1;
  int system_prompt = kNone;            // that it begins with, until it did
  int64_t tokens = 0;                   // of the next prompt
  BlockNumber anchor = kNoBlockNumber;  // the last full block that there is already
  int64_t anchor_blocks = 0;            // the blocks up to it
};
struct Later {
  bool operator()(const Session& a, const Session& b) const { return a.next_ms > b.next_ms; }
};

class Generator {
 public:
  Generator(TraceKind kind, uint64_t seed)
      : kind_(kind),
        habits_(kind == TraceKind::kChat ? kChatHabits : kAgentHabits),
        chance_(seed),
        system_prompts_(static_cast<size_t>(habits_.num_system_prompts), kNoBlockNumber) {
    trace_.name = kind == TraceKind::kChat ? "generated_chat" : "generated_agent";
    trace_.block_tokens = kBlockTokens;
  }

  Trace Make(int64_t num_requests) {
    double next_session_ms = 0;
    while (static_cast<int64_t>(trace_.requests.size()) < num_requests) {
      while (waiting_.empty() || waiting_.top().next_ms >= next_session_ms) {
        waiting_.push(NewSession(next_session_ms));
        next_session_ms += chance_.Exponential(habits_.session_gap_ms);
      }
      Session session = waiting_.top();
      waiting_.pop();
      Ask(session);
      if (--session.turns_left > 0 && session.tokens < kMostTokens) waiting_.push(session);
    }
    return std::move(trace_);
  }

 private:
  Session NewSession(double time_ms) {
    Session session;
    session.next_ms = time_ms;
    session.number = ++num_sessions_;
    if (kind_ == TraceKind::kAgent) session.type = TraceRequestType::kMain;
    if (!chance_.Is(habits_.one_turn)) {
      session.turns_left = 2 + std::llround(chance_.Exponential(habits_.mean_turns));
    }
    if (chance_.Is(habits_.system_prompt)) {
      session.system_prompt = ChooseSystemPrompt();
      session.tokens = habits_.system_blocks * kBlockTokens;
    }
    session.tokens += 1 + std::llround(chance_.LogNormal(habits_.first_tokens, 1));
    return session;
  }

  // The first ones are asked for most.
  int ChooseSystemPrompt() {
    const double rank = chance_.Uniform();
    return static_cast<int>(rank * rank * habits_.num_system_prompts);
  }

  // The session's chain begins with its system prompt, which comes with the first that asks for it.
  void BeginWithSystemPrompt(Session& session) {
    BlockNumber& last = system_prompts_[static_cast<size_t>(session.system_prompt)];
    if (last == kNoBlockNumber) {
      for (int64_t i = 0; i < habits_.system_blocks; ++i) last = trace_.AddBlock(last);
    }
    session.anchor = last;
    session.anchor_blocks = habits_.system_blocks;
    session.system_prompt = kNone;
  }

  // The next request of the session, and what it will ask after it.
  void Ask(Session& session) {
    if (session.system_prompt != kNone) BeginWithSystemPrompt(session);
    TraceRequest request;
    request.time_ms = std::llround(session.next_ms);
    request.session = session.number;
    request.type = session.type;
    request.input_tokens = static_cast<uint32_t>(session.tokens);
    for (; session.anchor_blocks < session.tokens / kBlockTokens; ++session.anchor_blocks) {
      session.anchor = trace_.AddBlock(session.anchor);
    }
    request.last =
        session.tokens % kBlockTokens == 0 ? session.anchor : trace_.AddBlock(session.anchor);
    const int64_t output = 1 + std::llround(chance_.LogNormal(habits_.output_tokens, 0.8));
    request.output_tokens = static_cast<uint32_t>(output);
    const bool is_call = chance_.Is(habits_.tool_call);
    request.finish = is_call ? TraceFinish::kToolUse : TraceFinish::kEndTurn;
    trace_.requests.push_back(request);
    session.next_ms +=
        chance_.LogNormal(is_call ? habits_.tool_gap_ms : habits_.person_gap_ms, 1.2);
    if (chance_.Is(habits_.take_back)) TakeBack(session);
    session.tokens += output + 1 + std::llround(chance_.LogNormal(habits_.turn_tokens, 1));
    if (session.type == TraceRequestType::kMain && chance_.Is(habits_.side_agent)) {
      waiting_.push(SideAgent(session));
    }
  }

  // The context goes back by up to a quarter.
  void TakeBack(Session& session) {
    const auto back =
        static_cast<int64_t>(static_cast<double>(session.anchor_blocks) * chance_.Uniform() / 4);
    for (int64_t i = 0; i < back; ++i) session.anchor = trace_.parents[session.anchor];
    session.anchor_blocks -= back;
    session.tokens = session.anchor_blocks * kBlockTokens;
  }

  Session SideAgent(const Session& main) {
    Session side = NewSession(main.next_ms);
    side.type = TraceRequestType::kSide;
    side.turns_left = 1 + std::llround(chance_.Exponential(5));
    return side;
  }

  const TraceKind kind_;
  const Habits habits_;
  Chance chance_;
  Trace trace_;
  std::vector<BlockNumber>
      system_prompts_;  // the last block of each; kNoBlockNumber: not asked yet
  std::priority_queue<Session, std::vector<Session>, Later> waiting_;
  uint64_t num_sessions_ = 0;
};

}  // namespace

cachestore::Trace GenerateTrace(TraceKind kind, uint64_t seed, int64_t num_requests) {
  return Generator(kind, seed).Make(std::max<int64_t>(1, num_requests));
}

}  // namespace reprise::bench
