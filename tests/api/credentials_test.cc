#include "api/auth/credentials.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>
#include <string>

#include "api/limits.h"
#include "tests/fakes/temp_folder.h"

namespace reprise::api {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

// SHA-256 of "abc" (FIPS 180-4).
constexpr char kAbcHex[] = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

TEST(SecretTokenTest, DigestsAreSha256InHexAndBack) {
  EXPECT_EQ(ToHex(DigestOf("abc")), kAbcHex);
  EXPECT_EQ(*TokenDigestFromHex(kAbcHex), DigestOf("abc"));
  EXPECT_FALSE(DigestOf("abc") == DigestOf("abd"));
  EXPECT_FALSE(TokenDigestFromHex(std::string(kAbcHex) + "00"));
  EXPECT_FALSE(TokenDigestFromHex(std::string(63, 'a') + "g"));
  EXPECT_FALSE(TokenDigestFromHex(std::string(64, 'A')));
}

TEST(SecretTokenTest, TokensAreLongAndNeverTheSame) {
  const std::string token = MakeToken();
  EXPECT_THAT(token, ::testing::MatchesRegex("reprise_[A-Za-z0-9_-]{43}"));
  EXPECT_NE(token, MakeToken());
}

std::string TokenCredential(const std::string& name, const std::string& token,
                            const std::string& more) {
  return "[[credentials]]\nname = \"" + name + "\"\ntoken-sha256 = \"" + ToHex(DigestOf(token)) +
         "\"\n" + more + "\n";
}

TEST(CredentialsTest, AFileSaysWhoMayCallAndHowMuch) {
  const auto credentials = Credentials::Parse(
      "[tenants.alice]\ncalls-per-second = 200\nbytes-per-second = \"100MiB\"\n"
      "ram-bytes = \"4GiB\"\n[tenants.bob]\ndisk-bytes = 5\n[tenants.cid]\ncalls-per-second = 1\n" +
      TokenCredential("alice-web", "abc", "tenant = \"alice\"\nroles = [\"publisher\"]") +
      TokenCredential("ops", "def", "roles = [\"admin\"]") +
      "[[credentials]]\nname = \"bob\"\ntenant = \"bob\"\ncertificate = \"engine.bob.example\"\n");
  ASSERT_TRUE(credentials.ok()) << credentials.status();
  EXPECT_EQ(credentials->size(), 3u);
  const Principal* alice = credentials->FindToken(DigestOf("abc"));
  ASSERT_NE(alice, nullptr);
  EXPECT_EQ(alice->name, "alice-web");
  EXPECT_EQ(alice->tenant, "alice");
  EXPECT_TRUE(alice->publisher);
  EXPECT_FALSE(alice->admin);
  const Principal* ops = credentials->FindToken(DigestOf("def"));
  ASSERT_NE(ops, nullptr);
  EXPECT_EQ(ops->tenant, "");
  EXPECT_TRUE(ops->admin);
  EXPECT_EQ(credentials->FindToken(DigestOf("ABC")), nullptr);
  const Principal* bob = credentials->FindCertificate({"other", "engine.bob.example"});
  ASSERT_NE(bob, nullptr);
  EXPECT_EQ(bob->tenant, "bob");
  EXPECT_EQ(credentials->FindCertificate({"bob.example"}), nullptr);
  EXPECT_EQ(credentials->limits(),
            (LimitsByTenant{{"alice", {200, 100 << 20, {int64_t{4} << 30, 0}}},
                            {"bob", {0, 0, {0, 5}}},
                            {"cid", {1, 0, {}}}}));
  EXPECT_EQ(QuotasOf(credentials->limits()),
            (cachestore::QuotasByTenant{{"alice", {int64_t{4} << 30, 0}}, {"bob", {0, 5}}}));
  EXPECT_EQ(Credentials::Parse("").value().size(), 0u);
}

std::string TooManyQuotas() {
  std::string text;
  for (int64_t i = 0; i <= kMaxTenantQuotas; ++i) {
    text += "[tenants.t" + std::to_string(i) + "]\nram-bytes = 1\n";
  }
  return text;
}

struct BadFile {
  std::string text;
  std::string cause;
};

TEST(CredentialsTest, WhatIsWrongIsSaidWithItsPlace) {
  const std::string alice = TokenCredential("alice", "abc", "tenant = \"alice\"");
  const BadFile files[] = {
      {"a = ", "line 1"},
      {"surprise = 1", "unknown key surprise"},
      {"[tenants]\nalice = 3", "line 2"},
      {"[tenants.\"a b\"]\n", "cannot be a tenant's name"},
      {"[tenants.\"(shared)\"]\n", "cannot be a tenant's name"},
      {"[tenants.a]\ncalls-per-second = 0", "line 2, column 20: calls-per-second"},
      {"[tenants.a]\ncalls-per-second = \"5\"", "calls-per-second must be a number"},
      {"[tenants.a]\nbytes-per-second = \"much\"", "much"},
      {"[tenants.a]\nram-bytes = \"4XiB\"", "4XiB"},
      {"[tenants.a]\ndisk-bytes = 0", "disk-bytes must be a number above 0"},
      {TooManyQuotas(), "more than 1024 tenants"},
      {"[tenants.a]\nram-byte = 1", "unknown key ram-byte"},
      {"[[credentials]]\ntenant = \"a\"", "has no name"},
      {"[[credentials]]\nname = \"a\"\ntenant = \"a\"", "either token-sha256 or certificate"},
      {alice + "certificate = \"x\"", "either token-sha256 or certificate"},
      {TokenCredential("a", "abc", ""), "has no tenant"},
      {TokenCredential("a", "abc", "tenant = \"(shared)\""), "tenant must be 1 to 64"},
      {TokenCredential("a", "abc", "tenant = \"b\"\nroles = [\"root\"]"), "a role is"},
      {TokenCredential("a", "abc", "tenant = \"b\"\nroles = \"admin\""), "roles must be a list"},
      {alice + TokenCredential("alice", "def", "tenant = \"alice\""), "comes twice"},
      {alice + TokenCredential("bob", "abc", "tenant = \"bob\""), "another credential has"},
      {std::string(static_cast<size_t>(kMaxCredentialsBytes) + 1, '#'), "at most"},
  };
  for (const BadFile& file : files) {
    const auto credentials = Credentials::Parse(file.text);
    EXPECT_EQ(credentials.status().code(), absl::StatusCode::kInvalidArgument)
        << file.text.substr(0, 200);
    EXPECT_THAT(std::string(credentials.status().message()), HasSubstr(file.cause));
  }
}

// Whoever puts the token itself into the file must not find it in a log.
TEST(CredentialsTest, NoErrorRepeatsASecret) {
  const std::string secret = MakeToken();
  for (const std::string& text :
       {"[[credentials]]\nname = \"a\"\ntenant = \"a\"\ntoken-sha256 = \"" + secret + "\"",
        "[[credentials]]\nname = \"a\"\ntenant = \"a\"\ntoken = \"" + secret + "\"",
        "[[credentials]]\nname = \"a\"\n" + secret + " = 1", secret, secret + " = " + secret,
        "token = " + secret, "[[credentials]]\nname = \"" + secret + " \""}) {
    const auto credentials = Credentials::Parse(text);
    ASSERT_FALSE(credentials.ok()) << text;
    EXPECT_THAT(std::string(credentials.status().message()), Not(HasSubstr(secret.substr(8))));
  }
}

TEST(CredentialsTest, AFileThatOthersMayReadIsRefused) {
  const TempFolder folder;
  const std::string path = folder / "credentials.toml";
  EXPECT_EQ(Credentials::ReadFile(path).status().code(), absl::StatusCode::kNotFound);
  std::ofstream(path) << TokenCredential("alice", "abc", "tenant = \"alice\"");
  for (const mode_t mode : {0640, 0604, 0620, 0602}) {
    ASSERT_EQ(chmod(path.c_str(), mode), 0);
    const absl::Status status = Credentials::ReadFile(path).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_THAT(std::string(status.message()), AllOf(HasSubstr(path), HasSubstr("chmod 600")));
  }
  ASSERT_EQ(chmod(path.c_str(), 0600), 0);
  EXPECT_EQ(Credentials::ReadFile(path).value().size(), 1u);
  std::ofstream(path) << "surprise = 1";
  EXPECT_THAT(std::string(Credentials::ReadFile(path).status().message()), HasSubstr(path));
  EXPECT_EQ(Credentials::ReadFile(folder / ".").status().code(),
            absl::StatusCode::kFailedPrecondition);
}

}  // namespace
}  // namespace reprise::api
