#include <cstdint>
#include <iostream>
#include <memory>

#include "absl/status/status.h"
#include "api/cli/cache_commands.h"
#include "api/cli/cache_target.h"
#include "api/cli/commands.h"
#include "api/cli/message_json.h"
#include "api/client/cache_client.h"

namespace reprise::api {
namespace {

struct WatchFlags {
  ServerFlags server;
  uint64_t from = 0;
  uint64_t epoch = 0;
  int64_t count = 0;
  bool with_tokens = false;
};

absl::Status RunWatch(const WatchFlags& flags) {
  ASSIGN_OR_RETURN(const auto client, Connect<CacheClient>(flags.server));
  v1::WatchRequest request;
  request.set_from_sequence(flags.from);
  request.set_epoch(flags.epoch);
  request.set_with_token_ids(flags.with_tokens);
  // Whether there is a server at all; the end of the watch says nothing of it.
  RETURN_IF_ERROR(client->Stats(flags.server.timeout()).status());
  int64_t told = 0;
  const absl::Status end =
      client->Watch(request, flags.server.timeout(), [&](const v1::CacheEvent& event) {
        std::cout << ToJsonLine(event) << std::endl;
        return ++told != flags.count;
      });
  // It was watched for as long as was asked for.
  return absl::IsDeadlineExceeded(end) ? absl::OkStatus() : end;
}

}  // namespace

void AddWatch(FlagSet& cache) {
  FlagSet& command =
      cache.AddCommand("watch", "print what comes into tiers and leaves them, as JSON lines");
  const auto flags = std::make_shared<WatchFlags>();
  AddServerFlags(command, &flags->server);
  command.Add("from", &flags->from, "N", "begin with event N of this process; 0: from now on");
  command.Add("epoch", &flags->epoch, "N", "the process that --from counts in; 0: any");
  command.Add("count", &flags->count, "N", "end behind N lines; 0: never");
  command.AtLeast("count", 0);
  command.AddSwitch("with-tokens", &flags->with_tokens, "with the token ids of stored blocks");
  command.SetExamples(
      "Ends behind --timeout, or --count.\n\n"
      "Examples:\n"
      "  reprise cache watch --timeout 86400\n"
      "  reprise cache watch --from 1 --with-tokens\n");
  command.SetAction([flags] { return ExitCode("cache watch", flags->server, RunWatch(*flags)); });
}

}  // namespace reprise::api
