#include <unistd.h>

#include <iostream>
#include <memory>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "api/cli/cache_commands.h"
#include "api/cli/commands.h"
#include "api/cli/server_flags.h"
#include "api/cli/top_view.h"
#include "api/client/cache_client.h"

namespace reprise::api {
namespace {

// To the corner of the terminal, and all behind it is gone.
constexpr char kClearTerminal[] = "\x1b[H\x1b[J";

struct TopFlags {
  ServerFlags server;
  double interval_seconds = 2;
  int64_t count = 0;
  int64_t namespaces = 10;
  bool once = false;
};

absl::StatusOr<TopSample> Look(CacheClient& client, absl::Duration timeout) {
  TopSample sample;
  ASSIGN_OR_RETURN(sample.stats, client.Stats(timeout));
  ASSIGN_OR_RETURN(sample.usage, client.Usage(/*all_tenants=*/true, timeout));
  sample.time = absl::Now();
  return sample;
}

// Whether the server may come back: it is started anew, or hangs.
bool IsAway(const absl::Status& status) {
  return absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status) ||
         absl::IsCancelled(status);
}

absl::Status RunTop(const TopFlags& flags) {
  ASSIGN_OR_RETURN(const auto client, Connect<CacheClient>(flags.server));
  const bool is_terminal = isatty(STDOUT_FILENO) != 0;
  const int64_t count = flags.once ? 1 : flags.count;
  std::optional<TopSample> before;
  for (int64_t shown = 0; count == 0 || shown < count; ++shown) {
    if (shown > 0) absl::SleepFor(absl::Seconds(flags.interval_seconds));
    absl::StatusOr<TopSample> now = Look(*client, flags.server.timeout());
    const bool is_last = shown + 1 == count;
    if (!now.ok() && (is_last || !IsAway(now.status()))) return now.status();
    std::cout << (is_terminal && !flags.once ? kClearTerminal
                  : shown > 0                ? "\n"
                                             : "")
              << "reprise " << flags.server.server << "  "
              << absl::FormatTime("%H:%M:%S", absl::Now(), absl::LocalTimeZone()) << "\n"
              << (now.ok() ? TopText(before.has_value() ? &*before : nullptr, *now,
                                     static_cast<size_t>(flags.namespaces))
                           : absl::StrCat("the server is away: ", now.status().message(), "\n"))
              << std::flush;
    if (!std::cout) return absl::OkStatus();  // whoever read it has gone
    before.reset();
    if (now.ok()) before = *std::move(now);
  }
  return absl::OkStatus();
}

}  // namespace

void AddTop(FlagSet& cache) {
  FlagSet& command = cache.AddCommand("top", "a live view: tiers, hit rate, moves, namespaces");
  const auto flags = std::make_shared<TopFlags>();
  AddServerFlags(command, &flags->server);
  command.Add("interval", &flags->interval_seconds, "SECONDS", "time between two looks");
  command.AtLeast("interval", 0.1);
  command.AddSwitch("once", &flags->once, "look once and end; there are no rates then");
  command.Add("count", &flags->count, "N", "end behind N looks; 0: never");
  command.AtLeast("count", 0);
  command.Exclude("once", "count");
  command.Add("namespaces", &flags->namespaces, "N", "show the N that take most");
  command.AtLeast("namespaces", 0);
  command.SetExamples(
      "Needs the role admin where there are credentials. Where stdout is no terminal, looks are\n"
      "printed one below the other.\n\n"
      "Examples:\n"
      "  reprise cache top\n"
      "  reprise cache top --interval 10 --token-file ops.token\n"
      "  reprise cache top --once\n");
  command.SetAction([flags] { return ExitCode("cache top", flags->server, RunTop(*flags)); });
}

}  // namespace reprise::api
