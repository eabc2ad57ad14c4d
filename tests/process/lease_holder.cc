// A client that holds ten leases of the prompt of session_kill_test until it is killed:
//     lease_holder ADDRESS NAMESPACE_ID TTL_SECONDS
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "api/client/session.h"

int main(int argc, char** argv) {
  using reprise::api::Acquired;
  using reprise::api::CacheSession;
  if (argc != 4) return 2;
  const auto session = CacheSession::Open(argv[1], {.ttl = absl::Seconds(std::atof(argv[3]))});
  if (!session.ok()) return 1;
  std::vector<uint32_t> tokens;  // tests/api/test_server.h, TestTokens(5)
  for (uint32_t i = 0; i < 5 * 8; ++i) tokens.push_back(1000 + i);
  std::vector<Acquired> held;
  for (int i = 0; i < 10; ++i) {
    const auto ns = static_cast<uint32_t>(std::atoi(argv[2]));
    auto acquired = (*session)->Acquire(ns, tokens, {}, absl::Minutes(1));
    if (!acquired.ok() || !acquired->lease) return 1;
    held.push_back(*std::move(acquired));
  }
  std::cout << "holding " << held.size() << std::endl;
  while (true) pause();
}
