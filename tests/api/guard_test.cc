#include "api/auth/guard.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "tests/api/credentials_fixture.h"

namespace reprise::api {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

const Peer kLoopback = {.address = "127.0.0.1:50051", .is_private = true};
const Peer kUnix = {.address = "unix:/run/s", .is_unix = true, .is_private = true};
const Peer kNetwork = {.address = "10.0.0.1:50051"};

Peer WithCertificate(const std::string& name) {
  return {.address = "10.0.0.1:1", .is_private = true, .certificate_names = {name}};
}

TEST(GuardTest, WithoutCredentialsEverybodyIsTheOperator) {
  const auto guard = Guard::Open({});
  ASSERT_TRUE(guard.ok()) << guard.status();
  for (const Peer& peer : {kLoopback, kUnix, kNetwork}) {
    for (const char* token : {"", "whatever a client sends as its key"}) {
      const auto principal = (*guard)->Authenticate(token, peer);
      ASSERT_TRUE(principal.ok());
      EXPECT_EQ(principal->tenant, "");
      EXPECT_TRUE(principal->admin);
      EXPECT_TRUE((*guard)->TakeCall(*principal).ok());
    }
  }
  EXPECT_EQ((*guard)->Authenticate("", WithCertificate("engine-1"))->name, "engine-1");
  EXPECT_TRUE((*guard)->Reload().value().empty());
}

TEST(GuardTest, ATokenSaysWhoItIs) {
  TestCredentials file;
  const auto guard = Guard::Open({.credentials_file = file.path()});
  ASSERT_TRUE(guard.ok()) << guard.status();
  const auto alice = (*guard)->Authenticate(file.alice, kLoopback);
  ASSERT_TRUE(alice.ok()) << alice.status();
  EXPECT_EQ(alice->tenant, "alice");
  EXPECT_FALSE(alice->admin);
  EXPECT_TRUE((*guard)->Authenticate(file.admin, kUnix)->admin);
  // On a Unix socket without a token: whoever could open it. With a wrong one: nobody.
  EXPECT_TRUE((*guard)->Authenticate("", kUnix)->admin);
  EXPECT_EQ((*guard)->Authenticate(file.alice, kUnix)->tenant, "alice");
  for (const std::string& wrong :
       {file.alice + "x", file.alice.substr(1), std::string("x"), ToHex(DigestOf(file.alice))}) {
    for (const Peer& peer : {kLoopback, kUnix}) {
      const absl::Status status = (*guard)->Authenticate(wrong, peer).status();
      EXPECT_EQ(status.code(), absl::StatusCode::kUnauthenticated);
      EXPECT_THAT(std::string(status.message()), Not(HasSubstr(wrong + " ")));
    }
  }
  EXPECT_EQ((*guard)->Authenticate("", kLoopback).status().code(),
            absl::StatusCode::kUnauthenticated);
}

TEST(GuardTest, ATokenIsNotTakenWhereOthersCanReadAlong) {
  TestCredentials file;
  const auto guard = Guard::Open({.credentials_file = file.path()});
  ASSERT_TRUE(guard.ok()) << guard.status();
  const absl::Status status = (*guard)->Authenticate(file.alice, kNetwork).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnauthenticated);
  EXPECT_THAT(std::string(status.message()), HasSubstr("TLS"));
}

TEST(GuardTest, ACertificateSaysWhoItIsUnlessATokenDoes) {
  TestCredentials file;
  file.Write("[[credentials]]\nname = \"carol\"\ntenant = \"carol\"\ncertificate = \"carol.x\"\n");
  const auto guard = Guard::Open({.credentials_file = file.path()});
  ASSERT_TRUE(guard.ok()) << guard.status();
  EXPECT_EQ((*guard)->Authenticate("", WithCertificate("carol.x"))->tenant, "carol");
  EXPECT_EQ((*guard)->Authenticate(file.bob, WithCertificate("carol.x"))->tenant, "bob");
  EXPECT_FALSE((*guard)->Authenticate("wrong", WithCertificate("carol.x")).ok());
  const absl::Status unknown = (*guard)->Authenticate("", WithCertificate("dave.x")).status();
  EXPECT_EQ(unknown.code(), absl::StatusCode::kUnauthenticated);
  EXPECT_THAT(std::string(unknown.message()), HasSubstr("dave.x"));
}

TEST(GuardTest, ReloadTakesWhatIsRightAndLeavesTheOldOtherwise) {
  TestCredentials file;
  const auto guard = Guard::Open({.credentials_file = file.path()});
  ASSERT_TRUE(guard.ok()) << guard.status();
  file.WriteText(TestCredentials::Entry("alice-web", "alice", file.alice, "") +
                 "[tenants.alice]\ncalls-per-second = 1\n");
  const auto changed = (*guard)->Reload();
  ASSERT_TRUE(changed.ok()) << changed.status();
  EXPECT_THAT(*changed, ElementsAre("1 credentials", "tenant alice has limits"));
  const auto alice = (*guard)->Authenticate(file.alice, kLoopback);
  ASSERT_TRUE(alice.ok()) << alice.status();
  EXPECT_FALSE((*guard)->Authenticate(file.bob, kLoopback).ok());
  EXPECT_TRUE((*guard)->TakeCall(*alice).ok());
  EXPECT_EQ((*guard)->TakeCall(*alice).code(), absl::StatusCode::kResourceExhausted);
  file.WriteText("surprise = 1");
  EXPECT_FALSE((*guard)->Reload().ok());
  EXPECT_TRUE((*guard)->Authenticate(file.alice, kLoopback).ok());
  file.Write("");
  EXPECT_THAT((*guard)->Reload().value(), Contains("tenant alice has no limits any more"));
  EXPECT_TRUE((*guard)->Authenticate(file.bob, kLoopback).ok());
}

}  // namespace
}  // namespace reprise::api
