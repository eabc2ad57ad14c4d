#include "bench/hitrate/trace_lines.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/hash/hash.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "bench/hitrate/trace_keys.h"
#include "cachestore/base/status_macros.h"
#include "cachestore/block/block_key.h"
#include "cachestore/trace/ktr_trace.h"

namespace reprise::bench {
namespace {

using cachestore::BlockKey;
using cachestore::BlockNumber;
using cachestore::Trace;
using cachestore::TraceFinish;
using cachestore::TraceRequest;
using nlohmann::json;

// A request, and the blocks that its chain is of.
struct Line {
  double time_ms = 0;
  TraceRequest request;
  std::vector<BlockKey> keys;
};

// Errors of fields do not know their line.
absl::Status Wrong(absl::string_view field, absl::string_view cause) {
  return absl::InvalidArgumentError(absl::StrCat("field \"", field, "\" ", cause));
}

// The first of `fields` that the object has; null when it has none.
const json* Find(const json& object, std::initializer_list<const char*> fields,
                 absl::string_view* name) {
  for (const char* const field : fields) {
    const auto it = object.find(field);
    if (it == object.end()) continue;
    *name = field;
    return &*it;
  }
  *name = *fields.begin();
  return nullptr;
}

absl::StatusOr<double> Time(const json& object) {
  absl::string_view field;
  const json* const value = Find(object, {"timestamp", "arrival_time"}, &field);
  if (value == nullptr) return Wrong(field, "is missing");
  if (!value->is_number()) return Wrong(field, "is no number");
  const double ms = value->get<double>() * (field == "timestamp" ? 1 : 1000);
  constexpr double kMost = 1e15;  // ms: 30,000 years
  if (!(std::abs(ms) <= kMost)) return Wrong(field, "is no time");
  return ms;
}

absl::StatusOr<uint64_t> Number(const json& value, absl::string_view field, uint64_t most) {
  if (!value.is_number_unsigned()) return Wrong(field, "is no whole number from 0 on");
  const auto number = value.get<uint64_t>();
  if (number > most) return Wrong(field, absl::StrCat("is more than ", most));
  return number;
}

absl::StatusOr<uint32_t> Tokens(const json& object, const char* field) {
  const auto it = object.find(field);
  if (it == object.end()) return Wrong(field, "is missing");
  ASSIGN_OR_RETURN(const uint64_t tokens, Number(*it, field, cachestore::kMaxTraceTokens));
  return static_cast<uint32_t>(tokens);
}

// An array of whole numbers up to `most`.
absl::StatusOr<std::vector<uint64_t>> Numbers(const json& value, absl::string_view field,
                                              uint64_t most) {
  if (!value.is_array()) return Wrong(field, "is no array");
  std::vector<uint64_t> numbers;
  numbers.reserve(value.size());
  for (const json& element : value) {
    ASSIGN_OR_RETURN(const uint64_t number, Number(element, field, most));
    numbers.push_back(number);
  }
  return numbers;
}

absl::StatusOr<Line> ParseMooncake(const json& object) {
  Line line;
  ASSIGN_OR_RETURN(line.time_ms, Time(object));
  ASSIGN_OR_RETURN(line.request.input_tokens, Tokens(object, "input_length"));
  ASSIGN_OR_RETURN(line.request.output_tokens, Tokens(object, "output_length"));
  ASSIGN_OR_RETURN(const std::vector<uint64_t> ids, Numbers(object.at("hash_ids"), "hash_ids",
                                                            std::numeric_limits<uint64_t>::max()));
  // An id stands for a block and all before it; below its parent, as here, also for a block alone.
  BlockKey key = kReplayRoot;
  for (const uint64_t id : ids) {
    const uint32_t words[] = {static_cast<uint32_t>(id), static_cast<uint32_t>(id >> 32)};
    line.keys.push_back(key = cachestore::ChildKey(key, words));
  }
  return line;
}

TraceFinish FinishOf(const json& object) {
  const auto it = object.find("finish_reason");
  if (it == object.end() || !it->is_string()) return TraceFinish::kUnknown;
  const auto& reason = it->get_ref<const std::string&>();
  if (reason == "tool_calls" || reason == "tool_use") return TraceFinish::kToolUse;
  if (reason == "stop" || reason == "end_turn") return TraceFinish::kEndTurn;
  return TraceFinish::kOther;
}

absl::StatusOr<uint32_t> OutputTokens(const json& object) {
  absl::string_view field;
  const json* const ids = Find(object, {"output_token_ids", "output_ids"}, &field);
  if (ids == nullptr) {
    return object.contains("completion_tokens") ? Tokens(object, "completion_tokens")
                                                : absl::StatusOr<uint32_t>(0);
  }
  if (!ids->is_array()) return Wrong(field, "is no array");
  return static_cast<uint32_t>(ids->size());
}

absl::StatusOr<Line> ParseLog(const json& object, int32_t block_tokens) {
  Line line;
  ASSIGN_OR_RETURN(line.time_ms, Time(object));
  absl::string_view field;
  const json* const ids = Find(object, {"prompt_token_ids", "input_ids"}, &field);
  if (ids == nullptr) return Wrong(field, "is missing, and so is \"hash_ids\"");
  ASSIGN_OR_RETURN(const std::vector<uint64_t> tokens,
                   Numbers(*ids, field, std::numeric_limits<uint32_t>::max()));
  line.request.input_tokens = static_cast<uint32_t>(tokens.size());
  ASSIGN_OR_RETURN(line.request.output_tokens, OutputTokens(object));
  line.request.finish = FinishOf(object);
  // Any text or number will do; equal ones are one session.
  if (const auto it = object.find("session_id"); it != object.end() && !it->is_null()) {
    line.request.session = std::max<uint64_t>(1, absl::HashOf(it->dump()));
  }
  const std::vector<uint32_t> words(tokens.begin(), tokens.end());
  line.keys = cachestore::ChainKeys(kReplayRoot, words, block_tokens);
  return line;
}

// Gives the keys of all chains their numbers, and sessions small ones.
Trace Build(std::vector<Line> lines, int32_t block_tokens) {
  std::stable_sort(lines.begin(), lines.end(),
                   [](const Line& a, const Line& b) { return a.time_ms < b.time_ms; });
  Trace trace;
  trace.block_tokens = block_tokens;
  absl::flat_hash_map<BlockKey, BlockNumber> numbers;
  absl::flat_hash_map<uint64_t, uint64_t> sessions;
  for (Line& line : lines) {
    for (const BlockKey& key : line.keys) {
      const auto [it, is_new] = numbers.try_emplace(key, 0);
      if (is_new) it->second = trace.AddBlock(line.request.last);
      line.request.last = it->second;
    }
    if (line.request.session != 0) {
      line.request.session =
          sessions.try_emplace(line.request.session, sessions.size() + 1).first->second;
    }
    line.request.time_ms = std::llround(line.time_ms - lines.front().time_ms);
    trace.requests.push_back(line.request);
  }
  return trace;
}

}  // namespace

absl::StatusOr<Trace> ParseTraceLines(absl::string_view text, const std::string& name,
                                      int32_t log_block_tokens) {
  std::vector<Line> lines;
  std::optional<bool> is_mooncake;  // as the first line is
  int64_t number = 0;
  for (const absl::string_view row : absl::StrSplit(text, '\n')) {
    ++number;
    if (row.find_first_not_of(" \t\r") == absl::string_view::npos) continue;
    const auto fail = [&](absl::string_view cause) {
      return absl::InvalidArgumentError(absl::StrCat(name, ": line ", number, ": ", cause));
    };
    const json object = json::parse(row.begin(), row.end(), nullptr, /*allow_exceptions=*/false);
    if (!object.is_object()) return fail("is no JSON object");
    const bool has_hash_ids = object.contains("hash_ids");
    if (is_mooncake.value_or(has_hash_ids) != has_hash_ids) {
      return fail("some lines have \"hash_ids\", others do not");
    }
    is_mooncake = has_hash_ids;
    absl::StatusOr<Line> line =
        has_hash_ids ? ParseMooncake(object) : ParseLog(object, log_block_tokens);
    if (!line.ok()) return fail(line.status().message());
    lines.push_back(*std::move(line));
  }
  if (lines.empty()) return absl::InvalidArgumentError(absl::StrCat(name, ": has no requests"));
  return Build(std::move(lines), *is_mooncake ? kMooncakeBlockTokens : log_block_tokens);
}

}  // namespace reprise::bench
