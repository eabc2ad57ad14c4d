// The flags that say which server a command talks to, and who it is to it. Plain data.
#pragma once

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "api/cli/flag_set.h"
#include "api/client/channel.h"
#include "cachestore/base/status_macros.h"

namespace reprise::api {

// Where a server listens unless told otherwise.
inline constexpr char kDefaultServer[] = "127.0.0.1:50051";

struct ServerFlags {
  std::string server;
  bool is_admin = false;  // its Admin listener
  double timeout_seconds = 600;
  // What the caller shows; files are read when a command connects.
  std::string token;
  std::string token_file;
  std::string tls_ca;
  std::string tls_cert;
  std::string tls_key;

  absl::Duration timeout() const { return absl::Seconds(timeout_seconds); }
  // The token is that of a flag, else the environment's REPRISE_TOKEN. BLOCKS. kInvalidArgument:
  // `server` is no address, a file is not the PEM that it should be, or a token would cross a
  // network for all to read; else the errors of reading the files.
  absl::StatusOr<ClientAccess> Access() const;
};

// Adds --server, --timeout, --token, --token-file, --tls-ca, --tls-cert and --tls-key, which fill
// `values`.
void AddServerFlags(FlagSet& flags, ServerFlags* values);
// The same for a command that talks to the Admin service: --admin-server, which must be given.
void AddAdminServerFlags(FlagSet& flags, ServerFlags* values);

// `status` of a call to the server that the flags name, for the one who gave them: where nothing
// answers, or something else than was asked for, it says so in terms of flags.
absl::Status Explained(const ServerFlags& flags, const absl::Status& status);

// The exit code of a command that calls a server and ended with `status`; an error goes to stderr
// as Explained has it.
int ExitCode(absl::string_view command, const ServerFlags& flags, const absl::Status& status);

// A client of the server that the flags name. BLOCKS to read files. Errors are those of Access.
template <typename Client>
absl::StatusOr<std::unique_ptr<Client>> Connect(const ServerFlags& flags) {
  ASSIGN_OR_RETURN(const ClientAccess access, flags.Access());
  return std::make_unique<Client>(flags.server, access);
}

}  // namespace reprise::api
