// TestCredentials: a credentials file with tenants alice and bob, a publisher and an operator, in a
// temporary folder.
#pragma once

#include <sys/stat.h>

#include <fstream>
#include <string>

#include "api/auth/secret_token.h"
#include "cachestore/base/check.h"
#include "tests/fakes/temp_folder.h"

namespace reprise::api {

class TestCredentials {
 public:
  const std::string alice = MakeToken();
  const std::string bob = MakeToken();
  const std::string publisher = MakeToken();  // of the tenant "system"
  const std::string admin = MakeToken();      // of any tenant

  TestCredentials() { Write(""); }

  std::string path() const { return folder_ / "credentials.toml"; }
  std::string audit_log() const { return folder_ / "audit.jsonl"; }

  // Writes the file anew, with `more` at the end.
  void Write(const std::string& more) {
    WriteText(Entry("alice-web", "alice", alice, "") + Entry("bob-web", "bob", bob, "") +
              Entry("system", "system", publisher, "roles = [\"publisher\"]\n") +
              Entry("ops", "", admin, "roles = [\"admin\"]\n") + more);
  }
  void WriteText(const std::string& text) {
    std::ofstream(path()) << text;
    CHECK(chmod(path().c_str(), 0600) == 0);
  }

  static std::string Entry(const std::string& name, const std::string& tenant,
                           const std::string& token, const std::string& more) {
    return "[[credentials]]\nname = \"" + name + "\"\n" +
           (tenant.empty() ? "" : "tenant = \"" + tenant + "\"\n") + "token-sha256 = \"" +
           ToHex(DigestOf(token)) + "\"\n" + more;
  }

 private:
  TempFolder folder_;
};

}  // namespace reprise::api
