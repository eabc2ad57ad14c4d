#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "api/auth/credentials.h"
#include "api/auth/secret_token.h"
#include "api/cli/commands.h"
#include "cachestore/base/status_macros.h"

namespace reprise::api {
namespace {

struct CredentialFlags {
  std::string name;
  std::string tenant;
  std::vector<std::string> roles;
};

// The table of the credentials file, without a blank line at the end.
std::string TableOf(const CredentialFlags& flags, const TokenDigest& digest) {
  std::string table = absl::StrCat("[[credentials]]\nname = \"", flags.name, "\"\n");
  if (!flags.tenant.empty()) absl::StrAppend(&table, "tenant = \"", flags.tenant, "\"\n");
  absl::StrAppend(&table, "token-sha256 = \"", ToHex(digest), "\"\n");
  if (!flags.roles.empty()) {
    absl::StrAppend(&table, "roles = [\"", absl::StrJoin(flags.roles, "\", \""), "\"]\n");
  }
  return table;
}

absl::Status RunCredential(const CredentialFlags& flags) {
  const std::string token = MakeToken();
  const std::string table = TableOf(flags, DigestOf(token));
  // What the server would refuse is refused here, before anybody was given the token.
  if (const absl::Status refused = Credentials::Parse(table).status(); !refused.ok()) {
    // It begins with a place in a file that nobody has written.
    const std::vector<std::string> parts =
        absl::StrSplit(refused.message(), absl::MaxSplits(": ", 1));
    return absl::Status(refused.code(), parts.back());
  }
  std::cerr << "# The token, shown this once:\n" << token << "\n\n# For the credentials file:\n";
  std::cout << table << std::flush;
  return absl::OkStatus();
}

}  // namespace

void AddCredentialCommand(FlagSet& program) {
  FlagSet& command = program.AddCommand("credential", "make a token for a client of a server");
  const auto flags = std::make_shared<CredentialFlags>();
  command.Add("name", &flags->name, "NAME", "what logs call the client");
  command.Require("name");
  command.Add("tenant", &flags->tenant, "NAME",
              "whose blocks it reads and writes; without it any tenant's, which needs the role "
              "admin");
  command.Add("role", &flags->roles, "ROLE...",
              "publisher: may write shared namespaces; admin: may do what concerns all tenants");
  command.Choose("role", {"publisher", "admin"});
  command.SetExamples(
      "The token goes to stderr, the table for the server's credentials file, which holds only "
      "the\n"
      "token's SHA-256, to stdout. A server refuses a file that others may read: hence umask.\n\n"
      "Examples:\n"
      "  (umask 077; reprise credential --name alice-web --tenant alice >> credentials.toml)\n"
      "  (umask 077; reprise credential --name ops --role admin >> credentials.toml)\n");
  command.SetAction([flags] { return ExitCode("credential", RunCredential(*flags)); });
}

}  // namespace reprise::api
