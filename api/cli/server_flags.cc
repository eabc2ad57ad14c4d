#include "api/cli/server_flags.h"

#include <cstdlib>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "api/auth/private_file.h"
#include "api/cli/text_file.h"
#include "api/listen_address.h"

namespace reprise::api {
namespace {

constexpr char kTokenVariable[] = "REPRISE_TOKEN";
constexpr int64_t kMaxTokenBytes = 4096;
constexpr int64_t kMaxKeyBytes = 64 << 10;

absl::StatusOr<std::string> TokenOf(const ServerFlags& flags) {
  if (!flags.token.empty()) return flags.token;
  if (!flags.token_file.empty()) {
    ASSIGN_OR_RETURN(const std::string text, ReadPrivateFile(flags.token_file, kMaxTokenBytes));
    return std::string(absl::StripAsciiWhitespace(text));
  }
  const char* variable = std::getenv(kTokenVariable);
  return std::string(variable == nullptr ? "" : variable);
}

// Whether nobody can read along on the way to the server.
absl::Status CheckPrivate(const ServerFlags& flags) {
  if (!flags.tls_ca.empty()) return absl::OkStatus();
  const absl::StatusOr<ListenAddress> address = ParseListenAddress(flags.server);
  if (address.ok() && address->IsLocal()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("the token would cross the network to ", flags.server,
                   " for all to read; give --tls-ca, the authority of the server's certificate"));
}

void AddAccessFlags(FlagSet& flags, ServerFlags* values) {
  flags.Add("timeout", &values->timeout_seconds, "SECONDS", "how long one call may take");
  flags.AtLeast("timeout", 0);
  flags.Add("token", &values->token, "TOKEN",
            "credential to show, as `reprise credential` printed it; other users of this machine "
            "can see it here: better by --token-file or the environment's REPRISE_TOKEN");
  flags.Add("token-file", &values->token_file, "FILE", "read the token from a file; mode 0600");
  flags.Exclude("token", "token-file");
  flags.Add("tls-ca", &values->tls_ca, "FILE",
            "authority in PEM that the server's certificate comes from: speak TLS");
  flags.Add("tls-cert", &values->tls_cert, "FILE",
            "certificate in PEM to show, for servers with --tls-client-ca");
  flags.Add("tls-key", &values->tls_key, "FILE", "its key in PEM; mode 0600");
  flags.Need("tls-cert", "tls-key");
  flags.Need("tls-key", "tls-cert");
  flags.Need("tls-cert", "tls-ca");
}

}  // namespace

absl::StatusOr<ClientAccess> ServerFlags::Access() const {
  ClientAccess access;
  ASSIGN_OR_RETURN(access.token, TokenOf(*this));
  if (!access.token.empty()) RETURN_IF_ERROR(CheckPrivate(*this));
  if (tls_ca.empty()) return access;
  ASSIGN_OR_RETURN(access.server_ca, ReadFile(tls_ca));
  if (tls_cert.empty()) return access;
  ASSIGN_OR_RETURN(access.certificate, ReadFile(tls_cert));
  ASSIGN_OR_RETURN(access.key, ReadPrivateFile(tls_key, kMaxKeyBytes));
  return access;
}

void AddServerFlags(FlagSet& flags, ServerFlags* values) {
  values->server = kDefaultServer;
  flags.Add("server", &values->server, "ADDR", "the server, as its --listen says");
  AddAccessFlags(flags, values);
}

void AddAdminServerFlags(FlagSet& flags, ServerFlags* values) {
  flags.Add("admin-server", &values->server, "ADDR",
            "the server's Admin listener, as its --admin-listen says");
  flags.Require("admin-server");
  AddAccessFlags(flags, values);
}

}  // namespace reprise::api
