#include "api/listen_address.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

#include "tests/fakes/temp_folder.h"

namespace reprise::api {
namespace {

using ::testing::HasSubstr;

TEST(ListenAddressTest, ReadsWhatItWrites) {
  for (const char* text :
       {"127.0.0.1:50051", "localhost:0", "[::1]:80", "unix:/run/reprise.sock"}) {
    const auto address = ParseListenAddress(text);
    ASSERT_TRUE(address.ok()) << address.status();
    EXPECT_EQ(address->ToString(), text);
  }
}

TEST(ListenAddressTest, RefusesWhatIsNoAddress) {
  for (const char* text : {"", "127.0.0.1", ":50051", "host:port", "host:65536", "host:-1",
                           "::1:80", "unix:", "[]:80", "http://host:1", "/run/socket:1"}) {
    EXPECT_EQ(ParseListenAddress(text).status().code(), absl::StatusCode::kInvalidArgument) << text;
  }
  EXPECT_FALSE(ParseListenAddress("unix:/" + std::string(200, 'x')).ok());
}

TEST(ListenAddressTest, OnlyThisMachineReachesLoopbackAndUnixSockets) {
  for (const char* text : {"127.0.0.1:1", "127.8.9.1:1", "localhost:1", "[::1]:1", "unix:/s"}) {
    EXPECT_TRUE(ParseListenAddress(text)->IsLocal()) << text;
  }
  for (const char* text : {"0.0.0.0:1", "192.168.0.1:1", "[::]:1", "example.org:1",
                           "127.example.org:1", "10.127.0.1:1"}) {
    EXPECT_FALSE(ParseListenAddress(text)->IsLocal()) << text;
  }
}

TEST(ListenAddressTest, ATakenPortIsNotFreeUntilItIsGivenBack) {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in name = {};
  name.sin_family = AF_INET;
  name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&name), sizeof(name)), 0);
  ASSERT_EQ(listen(fd, 1), 0);
  socklen_t length = sizeof(name);
  ASSERT_EQ(getsockname(fd, reinterpret_cast<sockaddr*>(&name), &length), 0);
  ListenAddress address;
  address.host = "127.0.0.1";
  address.port = ntohs(name.sin_port);
  const absl::Status taken = CheckFree(address);
  EXPECT_EQ(taken.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(taken.message()), HasSubstr(address.ToString()));
  EXPECT_THAT(std::string(taken.message()), HasSubstr("in use"));
  close(fd);
  EXPECT_TRUE(CheckFree(address).ok());
}

// The resolved addresses of numeric `hosts`, as one list.
class Resolved {
 public:
  Resolved(const std::vector<std::string>& hosts, uint16_t port) {
    for (const std::string& host : hosts) {
      sockaddr_in& name = names_.emplace_back();
      name.sin_family = AF_INET;
      name.sin_port = htons(port);
      EXPECT_EQ(inet_pton(AF_INET, host.c_str(), &name.sin_addr), 1);
    }
    for (sockaddr_in& name : names_) {
      addrinfo& info = infos_.emplace_back();
      info.ai_family = AF_INET;
      info.ai_addr = reinterpret_cast<sockaddr*>(&name);
      info.ai_addrlen = sizeof(name);
    }
    for (size_t i = 0; i + 1 < infos_.size(); ++i) infos_[i].ai_next = &infos_[i + 1];
  }
  const addrinfo* first() const { return infos_.data(); }

 private:
  std::vector<sockaddr_in> names_;
  std::vector<addrinfo> infos_;
};

TEST(ListenAddressTest, AnAddressThatTheMachineLacksDoesNotStandInTheWayOfAnother) {
  ListenAddress address;
  address.host = "localhost";
  // 192.0.2.0/24 is for documentation: no machine has it.
  EXPECT_TRUE(CheckResolvedFree(address, Resolved({"192.0.2.1", "127.0.0.1"}, 0).first()).ok());
  EXPECT_TRUE(CheckResolvedFree(address, Resolved({"127.0.0.1", "192.0.2.1"}, 0).first()).ok());
  const absl::Status alone = CheckResolvedFree(address, Resolved({"192.0.2.1"}, 0).first());
  EXPECT_EQ(alone.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(alone.message()), HasSubstr("Cannot assign requested address"));
}

TEST(ListenAddressTest, AnAddressThatIsTakenStandsInTheWayOfAnother) {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in name = {};
  name.sin_family = AF_INET;
  name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&name), sizeof(name)), 0);
  ASSERT_EQ(listen(fd, 1), 0);
  socklen_t length = sizeof(name);
  ASSERT_EQ(getsockname(fd, reinterpret_cast<sockaddr*>(&name), &length), 0);
  const Resolved both({"127.0.0.2", "127.0.0.1"}, ntohs(name.sin_port));
  ListenAddress address;
  address.host = "localhost";
  EXPECT_THAT(std::string(CheckResolvedFree(address, both.first()).message()), HasSubstr("in use"));
  close(fd);
  EXPECT_TRUE(CheckResolvedFree(address, both.first()).ok());
}

TEST(ListenAddressTest, ASocketThatNobodyListensOnAnyMoreIsFree) {
  const TempFolder folder;
  ListenAddress address;
  address.unix_path = folder / "s";
  EXPECT_TRUE(CheckFree(address).ok());
  const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un name = {};
  name.sun_family = AF_UNIX;
  std::strcpy(name.sun_path, address.unix_path.c_str());
  ASSERT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&name), sizeof(name)), 0);
  ASSERT_EQ(listen(fd, 1), 0);
  EXPECT_EQ(CheckFree(address).code(), absl::StatusCode::kUnavailable);
  close(fd);
  EXPECT_TRUE(CheckFree(address).ok());
}

TEST(ListenAddressTest, AFileThatIsNoSocketIsLeftAlone) {
  const TempFolder folder;
  ListenAddress address;
  address.unix_path = folder / "precious";
  std::ofstream(address.unix_path) << "data";
  EXPECT_THAT(std::string(CheckFree(address).message()), HasSubstr("not a socket"));
}

}  // namespace
}  // namespace reprise::api
