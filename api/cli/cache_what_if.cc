#include <algorithm>
#include <iostream>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "api/cli/cache_commands.h"
#include "api/cli/commands.h"
#include "api/cli/message_json.h"
#include "api/cli/server_flags.h"
#include "api/cli/table.h"
#include "api/client/cache_client.h"
#include "cachestore/base/status_macros.h"

namespace reprise::api {
namespace {

struct WhatIfFlags {
  ServerFlags server;
  bool all_tenants = false;
  bool json = false;
};

// A bar of so many cells for a ratio of 1.
constexpr int kBarCells = 40;

std::string Bar(double ratio) {
  const int cells = static_cast<int>(std::clamp(ratio, 0.0, 1.0) * kBarCells + 0.5);
  return absl::StrCat(std::string(static_cast<size_t>(cells), '#'),
                      std::string(static_cast<size_t>(kBarCells - cells), '.'));
}

// Fewer than these, a thousand blocks of 16, say nothing of what will come.
constexpr double kLeastWatchedTokens = 16'000;

void Print(const v1::TenantWhatIf& tenant, double sampling_rate) {
  std::cout << (tenant.tenant().empty() ? "all tenants" : tenant.tenant()) << ": "
            << WithThousands(static_cast<int64_t>(tenant.looked_up_tokens()))
            << " tokens looked up\n";
  const double watched = tenant.looked_up_tokens() * sampling_rate;
  if (watched < kLeastWatchedTokens) {
    std::cout << "too few lookups to predict (some " << WithThousands(static_cast<int64_t>(watched))
              << " tokens watched, of the "
              << WithThousands(static_cast<int64_t>(kLeastWatchedTokens))
              << " that it takes; --json has the curves all the same)\n";
    return;
  }
  Table table({"tiers", "size", "bytes", "hits", "0 to 100 %", "tokens saved", "prefill saved"});
  for (const v1::WhatIfCurve& curve : tenant.curves()) {
    for (const v1::WhatIfPoint& point : curve.points()) {
      table.AddRow(
          {curve.tier() == "ram" ? "RAM" : "RAM + disk", absl::StrFormat("%gx", point.factor()),
           BytesText(point.bytes()), absl::StrFormat("%.1f %%", 100 * point.hit_ratio()),
           Bar(point.hit_ratio()), WithThousands(static_cast<int64_t>(point.saved_tokens())),
           point.saved_seconds() > 0 ? absl::StrFormat("%.0f s", point.saved_seconds()) : ""});
    }
  }
  table.Print(std::cout);
}

absl::Status RunWhatIf(const WhatIfFlags& flags) {
  ASSIGN_OR_RETURN(const auto client, Connect<CacheClient>(flags.server));
  ASSIGN_OR_RETURN(const v1::WhatIfResponse report,
                   client->WhatIf(flags.all_tenants, flags.server.timeout()));
  if (flags.json) {
    std::cout << ToJsonLine(report) << std::endl;
    return absl::OkStatus();
  }
  if (report.tenants().empty()) std::cout << "nothing was looked up yet\n";
  for (int i = 0; i < report.tenants_size(); ++i) {
    if (i > 0) std::cout << "\n";
    Print(report.tenants(i), report.sampling_rate());
  }
  std::cout << std::flush;
  return absl::OkStatus();
}

}  // namespace

void AddWhatIf(FlagSet& cache) {
  FlagSet& command = cache.AddCommand(
      "whatif", "what half, twice or four times the RAM and disk would have made of the requests");
  const auto flags = std::make_shared<WhatIfFlags>();
  AddServerFlags(command, &flags->server);
  command.AddSwitch("all-tenants", &flags->all_tenants,
                    "of every tenant, and of all together; needs the role admin");
  command.AddSwitch("json", &flags->json, "print one JSON object instead of tables");
  command.SetExamples(
      "Hits are predicted from a sample of the blocks, for the requests of the last hours.\n\n"
      "Examples:\n  reprise cache whatif\n  reprise cache whatif --all-tenants --json\n");
  command.SetAction([flags] { return ExitCode("cache whatif", flags->server, RunWhatIf(*flags)); });
}

}  // namespace reprise::api
