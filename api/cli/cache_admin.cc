#include <iostream>
#include <memory>
#include <string>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "api/cli/cache_commands.h"
#include "api/cli/commands.h"
#include "api/cli/message_json.h"
#include "api/cli/server_flags.h"
#include "api/cli/table.h"
#include "api/client/admin_client.h"
#include "cachestore/base/status_macros.h"

namespace reprise::api {
namespace {

struct AdminFlags {
  ServerFlags server;
  int64_t bytes_per_second = 0;
  std::string end;
  std::string file;  // of a recording
  int64_t max_bytes = 0;
  bool stop = false;
  bool json = false;
};

void AddAdminFlags(FlagSet& flags, AdminFlags* values) {
  AddAdminServerFlags(flags, &values->server);
  flags.AddSwitch("json", &values->json, "print JSON lines");
}

absl::Status RunVerify(const AdminFlags& flags) {
  ASSIGN_OR_RETURN(const auto client, Connect<AdminClient>(flags.server));
  ASSIGN_OR_RETURN(
      const v1::VerifyProgress end,
      client->Verify(flags.bytes_per_second, flags.server.timeout(),
                     [&](const v1::VerifyProgress& now) {
                       if (flags.json) {
                         std::cout << ToJsonLine(now) << std::endl;
                       } else {
                         std::cerr << WithThousands(now.verified_blocks() + now.failed_blocks())
                                   << " of " << WithThousands(now.total_blocks()) << " blocks\n";
                       }
                       return true;
                     }));
  if (!flags.json) {
    std::cout << WithThousands(end.verified_blocks()) << " blocks are good, "
              << WithThousands(end.failed_blocks()) << " failed and were taken out" << std::endl;
  }
  if (end.failed_blocks() == 0) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat(end.failed_blocks(), " blocks failed"));
}

absl::Status RunSessions(const AdminFlags& flags) {
  ASSIGN_OR_RETURN(const auto client, Connect<AdminClient>(flags.server));
  if (!flags.end.empty()) {
    // Checked first: the conversion takes anything.
    if (flags.end.find_first_not_of("0123456789abcdefABCDEF") != std::string::npos ||
        flags.end.size() != 16) {
      return absl::InvalidArgumentError(absl::StrCat("\"", flags.end, "\" is no session's id"));
    }
    return client->EndSession(absl::HexStringToBytes(flags.end), flags.server.timeout());
  }
  ASSIGN_OR_RETURN(const v1::ListSessionsResponse all,
                   client->ListSessions(flags.server.timeout()));
  if (flags.json) {
    std::cout << ToJsonLine(all) << std::endl;
    return absl::OkStatus();
  }
  Table table({"id", "client", "from", "tenant", "age", "leases", "grants", "held", "shared"});
  for (const v1::SessionInfo& session : all.sessions()) {
    table.AddRow({Hex(session.public_id()), session.client_name(), session.peer(), session.tenant(),
                  absl::StrFormat("%.0f s", session.age_seconds()), WithThousands(session.leases()),
                  WithThousands(session.grants()), BytesText(session.leased_bytes()),
                  session.shared_memory() ? "yes" : ""});
  }
  table.Print(std::cout);
  return absl::OkStatus();
}

absl::Status RunRecord(const AdminFlags& flags) {
  ASSIGN_OR_RETURN(const auto client, Connect<AdminClient>(flags.server));
  ASSIGN_OR_RETURN(
      const v1::RecordingState state,
      flags.stop ? client->StopRecording(flags.server.timeout())
                 : client->StartRecording(flags.file, flags.max_bytes, flags.server.timeout()));
  if (flags.json) {
    std::cout << ToJsonLine(state) << std::endl;
    return absl::OkStatus();
  }
  if (!state.ended()) {
    std::cout << "recording into " << state.path() << std::endl;
    return absl::OkStatus();
  }
  std::cout << "recorded " << WithThousands(state.requests()) << " requests of "
            << WithThousands(state.blocks()) << " blocks into " << state.path() << " ("
            << BytesText(state.bytes()) << "), " << WithThousands(state.dropped_requests())
            << " were dropped" << std::endl;
  if (!state.cause().empty()) std::cout << "it had ended: " << state.cause() << std::endl;
  return absl::OkStatus();
}

}  // namespace

void AddRecord(FlagSet& cache) {
  FlagSet& command = cache.AddCommand(
      "record", "record the stream of requests, without tokens, text or keys; or end that");
  const auto flags = std::make_shared<AdminFlags>();
  AddAdminFlags(command, flags.get());
  command.Add("file", &flags->file, "FILE", "begin to record into this new file of the server's");
  command.AddBytes("max-bytes", &flags->max_bytes, "of the file, which ends it; 0: 1 GiB");
  command.AddSwitch("stop", &flags->stop, "end the recording instead");
  command.Need("max-bytes", "file");
  command.RequireOneOf({"file", "stop"});
  command.Exclude("file", "stop");
  command.SetExamples(
      "Examples:\n"
      "  reprise cache record --admin-server unix:/run/reprise/admin.sock --file "
      "/var/tmp/requests.ktr.gz\n"
      "  reprise cache record --admin-server unix:/run/reprise/admin.sock --stop\n"
      "  reprise bench hitrate --traces /var/tmp/requests.ktr.gz\n");
  command.SetAction([flags] { return ExitCode("cache record", flags->server, RunRecord(*flags)); });
}

void AddVerify(FlagSet& cache) {
  FlagSet& command = cache.AddCommand(
      "verify", "compare what is on disk with its checksums; what fails is taken out");
  const auto flags = std::make_shared<AdminFlags>();
  AddAdminFlags(command, flags.get());
  command.AddBytes("bytes-per-second", &flags->bytes_per_second,
                   "read no faster; 0: as fast as the disk gives them");
  command.SetExamples(
      "Exit code 1 when a block failed.\n\n"
      "Examples:\n"
      "  reprise cache verify --admin-server unix:/run/reprise/admin.sock\n"
      "  reprise cache verify --admin-server 127.0.0.1:50052 --bytes-per-second 100MiB --json\n");
  command.SetAction([flags] { return ExitCode("cache verify", flags->server, RunVerify(*flags)); });
}

void AddSessions(FlagSet& cache) {
  FlagSet& command = cache.AddCommand("sessions", "sessions and what they hold; or end one");
  const auto flags = std::make_shared<AdminFlags>();
  AddAdminFlags(command, flags.get());
  command.Add("end", &flags->end, "ID", "end this session instead");
  command.SetExamples(
      "Examples:\n"
      "  reprise cache sessions --admin-server unix:/run/reprise/admin.sock\n"
      "  reprise cache sessions --admin-server 127.0.0.1:50052 --end 0123456789abcdef\n");
  command.SetAction(
      [flags] { return ExitCode("cache sessions", flags->server, RunSessions(*flags)); });
}

}  // namespace reprise::api
