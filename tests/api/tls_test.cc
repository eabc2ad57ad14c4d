// TLS listeners, against certificates that openssl makes: who is let in, and that new certificates
// are shown to new connections while old ones go on.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>

#include "absl/strings/str_cat.h"
#include "tests/api/credentials_fixture.h"
#include "tests/api/test_server.h"

namespace reprise::api {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

std::string Contents(const std::string& path) {
  std::stringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

// An authority that gives certificates, in a folder of its own.
class Authority {
 public:
  Authority() { Make("ca", "/CN=authority", "-x509 -days 2"); }

  std::string certificate() const { return folder_ / "ca.pem"; }

  // NAME.pem and NAME.key of a certificate for the DNS name `dns`, which may be replaced. It is
  // good for `days`; one of less than 1 has expired.
  void Give(const std::string& name, const std::string& dns, int days = 1) {
    Make(name, absl::StrCat("/CN=", name), "");
    std::ofstream(folder_ / "names") << "subjectAltName=DNS:" << dns;
    Run(absl::StrCat("x509 -req -days ", days, " -in ", folder_ / (name + ".pem"), " -CA ",
                     folder_ / "ca.pem", " -CAkey ", folder_ / "ca.key",
                     " -CAcreateserial -extfile ", folder_ / "names", " -out ",
                     folder_ / (name + ".new")));
    std::filesystem::rename(folder_ / (name + ".new"), folder_ / (name + ".pem"));
  }
  std::string CertificateFile(const std::string& name) const { return folder_ / (name + ".pem"); }
  std::string KeyFile(const std::string& name) const { return folder_ / (name + ".key"); }

 private:
  void Make(const std::string& name, const std::string& subject, const std::string& more) {
    Run(absl::StrCat("req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj ", subject,
                     " ", more, " -keyout ", folder_ / (name + ".key"), " -out ",
                     folder_ / (name + ".pem")));
    CHECK(chmod((folder_ / (name + ".key")).c_str(), 0600) == 0);
  }
  static void Run(const std::string& arguments) {
    CHECK(std::system(absl::StrCat("openssl ", arguments, " 2>/dev/null").c_str()) == 0);
  }

  TempFolder folder_;
};

class TlsTest : public ::testing::Test {
 protected:
  TlsTest() { authority_.Give("server", "localhost"); }

  TlsFiles Files() const {
    return {.certificate = authority_.CertificateFile("server"),
            .key = authority_.KeyFile("server")};
  }
  void Start(const GuardOptions& guard) {
    server_ = std::make_unique<TestServer>(
        TestServer::Options{.max_positions = 0, .guard = guard, .listen = "localhost:0"});
  }

  // With the certificate `name`, or without one.
  ClientAccess Access(const std::string& token, const std::string& name) const {
    ClientAccess access = {.token = token, .server_ca = Contents(authority_.certificate())};
    if (!name.empty()) {
      access.certificate = Contents(authority_.CertificateFile(name));
      access.key = Contents(authority_.KeyFile(name));
    }
    return access;
  }
  absl::Status Open(const ClientAccess& access) {
    v1::NamespaceIdentity identity = TestIdentity();
    identity.clear_tenant();
    return CacheClient(server_->address(), access).OpenNamespace(identity, kTestTimeout).status();
  }

  Authority authority_;
  TestCredentials file_;
  std::unique_ptr<TestServer> server_;
};

TEST_F(TlsTest, TokensGoOverTlsAndPlaintextIsNotTalkedTo) {
  Start({.credentials_file = file_.path(), .tls = Files()});
  EXPECT_TRUE(Open(Access(file_.alice, "")).ok());
  EXPECT_EQ(Open(Access("", "")).code(), absl::StatusCode::kUnauthenticated);
  EXPECT_EQ(Open(Access(MakeToken(), "")).code(), absl::StatusCode::kUnauthenticated);
  EXPECT_EQ(Open({.token = file_.alice}).code(), absl::StatusCode::kUnavailable);
  const Authority another;
  EXPECT_EQ(Open({.token = file_.alice, .server_ca = Contents(another.certificate())}).code(),
            absl::StatusCode::kUnavailable);
}

TEST_F(TlsTest, AClientsCertificateIsItsCredential) {
  file_.Write(
      "[[credentials]]\nname = \"carol\"\ntenant = \"carol\"\ncertificate = \"engine.carol\"\n");
  TlsFiles files = Files();
  files.client_ca = authority_.certificate();
  Start({.credentials_file = file_.path(), .tls = files});
  authority_.Give("carol", "engine.carol");
  authority_.Give("dave", "engine.dave");
  EXPECT_TRUE(Open(Access("", "carol")).ok());
  const absl::Status unknown = Open(Access("", "dave"));
  EXPECT_EQ(unknown.code(), absl::StatusCode::kUnauthenticated);
  EXPECT_THAT(std::string(unknown.message()), HasSubstr("engine.dave"));
  // A token goes before the certificate, and does not stand for it.
  EXPECT_TRUE(Open(Access(file_.bob, "dave")).ok());
  EXPECT_EQ(Open(Access(file_.bob, "")).code(), absl::StatusCode::kUnavailable);
  Authority another;
  another.Give("carol", "engine.carol");
  ClientAccess forged = Access("", "");
  forged.certificate = Contents(another.CertificateFile("carol"));
  forged.key = Contents(another.KeyFile("carol"));
  EXPECT_EQ(Open(forged).code(), absl::StatusCode::kUnavailable);
}

TEST_F(TlsTest, NewCertificatesAreShownToNewConnectionsAndOldOnesGoOn) {
  Start({.credentials_file = file_.path(), .tls = Files()});
  CacheClient old(server_->address(), Access(file_.admin, ""));
  ASSERT_TRUE(old.Stats(kTestTimeout).ok());
  // Another authority's certificate takes the place of the first one's.
  Authority another;
  another.Give("server", "localhost");
  const auto replace = [&](const std::string& from, const std::string& to) {
    std::filesystem::copy_file(from, to, std::filesystem::copy_options::overwrite_existing);
  };
  // Half of it: refused, and nothing changes.
  replace(another.CertificateFile("server"), authority_.CertificateFile("server"));
  const absl::Status half = server_->guard().Reload().status();
  EXPECT_EQ(half.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(half.message()), HasSubstr("is not the key of"));
  EXPECT_TRUE(Open(Access(file_.alice, "")).ok());
  replace(another.KeyFile("server"), authority_.KeyFile("server"));
  EXPECT_THAT(server_->guard().Reload().value(), ::testing::Contains("certificates"));
  ClientAccess access = Access(file_.alice, "");
  EXPECT_EQ(Open(access).code(), absl::StatusCode::kUnavailable);
  access.server_ca = Contents(another.certificate());
  EXPECT_TRUE(Open(access).ok());
  EXPECT_TRUE(old.Stats(kTestTimeout).ok());
}

TEST_F(TlsTest, TheWholeChainIsCheckedAndTheOldOneStays) {
  auto identity = TlsIdentity::Open(Files());
  ASSERT_TRUE(identity.ok()) << identity.status();
  const auto shown = (*identity)->material();
  const std::string server = Contents(Files().certificate);
  const std::string authority = Contents(authority_.certificate());
  const auto reload = [&](const std::string& pem) {
    std::ofstream(Files().certificate) << pem;
    const auto changed = (*identity)->Reload();
    if (!changed.ok()) {
      EXPECT_EQ(changed.status().code(), absl::StatusCode::kInvalidArgument);
      EXPECT_EQ((*identity)->material(), shown);
    }
    return std::string(changed.status().message());
  };
  EXPECT_THAT(reload(server + Contents(Authority().certificate())),
              AllOf(HasSubstr("certificate 1, /CN=server, has not been signed by"),
                    HasSubstr("/CN=authority")));
  EXPECT_THAT(reload(server + "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
              HasSubstr("is damaged: certificate 2"));
  EXPECT_THAT(reload(server + authority.substr(0, authority.size() / 2)),
              HasSubstr("is damaged: certificate 2"));
  authority_.Give("old", "localhost", -1);
  EXPECT_THAT(reload(server + Contents(authority_.CertificateFile("old"))),
              HasSubstr("has not been signed by"));
  EXPECT_EQ(reload(server + authority), "");
  EXPECT_NE((*identity)->material(), shown);
}

TEST_F(TlsTest, WhatHasExpiredIsRefusedAndWhatEndsSoonIsSaid) {
  authority_.Give("server", "localhost", -1);
  EXPECT_THAT(std::string(TlsIdentity::Open(Files()).status().message()),
              AllOf(HasSubstr("certificate 1, /CN=server"), HasSubstr("has expired")));
  authority_.Give("server", "localhost", 30);
  EXPECT_THAT((*TlsIdentity::Open(Files()))->EndingSoon(), ::testing::IsEmpty());
  authority_.Give("server", "localhost", 6);
  EXPECT_NEAR(absl::ToDoubleHours((*TlsIdentity::Open(Files()))->ends() - absl::Now()), 6 * 24, 1);
  TlsFiles files = Files();
  files.client_ca = authority_.certificate();
  EXPECT_THAT((*TlsIdentity::Open(files))->EndingSoon(),
              ::testing::ElementsAre(
                  AllOf(HasSubstr("server.pem: /CN=server ends on 20"), HasSubstr(" UTC")),
                  HasSubstr("ca.pem: /CN=authority ends on ")));
  authority_.Give("client", "engine", -1);
  files.client_ca = authority_.CertificateFile("client");
  EXPECT_THAT(std::string(TlsIdentity::Open(files).status().message()),
              HasSubstr("holds no authority that is in date"));
}

TEST_F(TlsTest, WhatIsWrongWithTheFilesIsSaid) {
  const auto error = [](const TlsFiles& files) {
    return std::string(TlsIdentity::Open(files).status().message());
  };
  TlsFiles files = Files();
  files.certificate = "/nowhere";
  EXPECT_THAT(error(files), HasSubstr("/nowhere"));
  files = Files();
  files.certificate = files.key;
  EXPECT_THAT(error(files), HasSubstr("holds no certificate in PEM"));
  files = Files();
  files.client_ca = files.key;
  EXPECT_THAT(error(files), HasSubstr("holds no certificate in PEM"));
  ASSERT_EQ(chmod(Files().key.c_str(), 0644), 0);
  EXPECT_THAT(error(Files()), HasSubstr("chmod 600"));
}

}  // namespace
}  // namespace reprise::api
