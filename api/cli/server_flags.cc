#include "api/cli/server_flags.h"

#include <algorithm>
#include <cstdlib>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "api/auth/pem.h"
#include "api/auth/private_file.h"
#include "api/cli/commands.h"
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
absl::Status CheckPrivate(const ServerFlags& flags, const ListenAddress& address) {
  if (!flags.tls_ca.empty() || address.IsLocal()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("the token would cross the network to ", flags.server,
                   " for all to read; give --tls-ca, the authority of the server's certificate"));
}

// Certificates in PEM. BLOCKS.
absl::StatusOr<std::string> ReadCertificates(const std::string& path) {
  ASSIGN_OR_RETURN(std::string pem, ReadFile(path));
  const absl::Status status = CertificatesIn(pem).status();
  if (status.ok()) return pem;
  return absl::InvalidArgumentError(absl::StrCat(path, " ", status.message()));
}

// Whether gRPC found no server to talk to: what it says itself then begins like this, and what a
// server says does not.
bool IsOfTheConnection(const absl::Status& status) {
  static constexpr const char* kBeginnings[] = {"failed to connect to all addresses",
                                                "connections to all backends failing",
                                                "DNS resolution failed",
                                                "Socket closed",
                                                "Connection reset",
                                                "recvmsg:",
                                                "Endpoint closing"};
  return absl::IsUnavailable(status) &&
         std::any_of(std::begin(kBeginnings), std::end(kBeginnings), [&](const char* beginning) {
           return absl::StartsWith(status.message(), beginning);
         });
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
  const absl::StatusOr<ListenAddress> address = ParseListenAddress(server);
  if (!address.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat(is_admin ? "--admin-server: " : "--server: ", address.status().message()));
  }
  ClientAccess access;
  ASSIGN_OR_RETURN(access.token, TokenOf(*this));
  if (!access.token.empty()) RETURN_IF_ERROR(CheckPrivate(*this, *address));
  if (tls_ca.empty()) return access;
  ASSIGN_OR_RETURN(access.server_ca, ReadCertificates(tls_ca));
  if (tls_cert.empty()) return access;
  ASSIGN_OR_RETURN(access.certificate, ReadCertificates(tls_cert));
  ASSIGN_OR_RETURN(access.key, ReadPrivateFile(tls_key, kMaxKeyBytes));
  if (PrivateKeyIn(access.key) == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat(tls_key, " holds no private key in PEM that needs no password"));
  }
  return access;
}

absl::Status Explained(const ServerFlags& flags, const absl::Status& status) {
  if (IsOfTheConnection(status)) {
    return absl::UnavailableError(absl::StrCat(
        "no server answers at ", flags.server, " (`reprise serve`?); ",
        flags.tls_ca.empty()
            ? "does it speak TLS (--tls-ca)?"
            : absl::StrCat("does it speak TLS, with a certificate from ", flags.tls_ca, "?"),
        " ", status.message()));
  }
  // gRPC's own answer to a call that is not offered has no message.
  if (absl::IsUnimplemented(status) && status.message().empty()) {
    return absl::UnimplementedError(
        absl::StrCat(flags.server, flags.is_admin ? " offers no Admin service; see `reprise serve "
                                                    "--admin-listen`"
                                                  : " does not offer this call"));
  }
  // The server asks for a header, which other programs send.
  if (absl::IsUnauthenticated(status) && absl::StrContains(status.message(), "Bearer")) {
    return absl::UnauthenticatedError(absl::StrCat(
        flags.server, " needs a credential: give --token-file, or set ", kTokenVariable));
  }
  return status;
}

int ExitCode(absl::string_view command, const ServerFlags& flags, const absl::Status& status) {
  return ExitCode(command, Explained(flags, status));
}

void AddServerFlags(FlagSet& flags, ServerFlags* values) {
  values->server = kDefaultServer;
  flags.Add("server", &values->server, "ADDR", "the server, as its --listen says");
  AddAccessFlags(flags, values);
}

void AddAdminServerFlags(FlagSet& flags, ServerFlags* values) {
  values->is_admin = true;
  flags.Add("admin-server", &values->server, "ADDR",
            "the server's Admin listener, as its --admin-listen says");
  flags.Require("admin-server");
  AddAccessFlags(flags, values);
}

}  // namespace reprise::api
