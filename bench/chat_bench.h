// Suite "chat": what a chat user feels. A written conversation through running servers, turn by
// turn, in four arms.
#pragma once

#include <cstdint>
#include <ostream>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "bench/report.h"

namespace reprise::bench {

struct ChatBenchOptions {
  std::string model_folder;
  std::string conversation_path;           // see conversation.h
  int32_t max_new_tokens = 64;             // per answer
  int64_t ram_bytes = int64_t{768} << 20;  // of each server
  int64_t disk_bytes = int64_t{2} << 30;
};

// Each arm has a server of its own; the arms take each turn one after the other, so that a noisy
// machine disturbs all of them:
//   off      neither matches nor stores blocks
//   ram      blocks of the turns before are in RAM
//   disk     RAM is emptied to disk before each turn
//   restart  RAM is emptied to disk, then the server is killed with SIGKILL and started again,
//            before each turn
// Prints one table: per turn prompt tokens, cached tokens by tier, TTFT, speed-up (where anything
// came from the cache), and whether the output was the same as in arm "off". The results hold the
// goals for reuse, TTFT and equal output. kInvalidArgument: a conversation of less than two turns,
// in which nothing can be reused.
absl::StatusOr<std::vector<Result>> RunChatBench(const ChatBenchOptions& options,
                                                 std::ostream& out);

}  // namespace reprise::bench
