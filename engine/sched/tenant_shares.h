// TenantShares: how many tokens each tenant has been served, so that the one with the least comes
// first.
//
// A tenant that comes after a pause starts at the clock, which is where the tenant that was served
// last stood: it neither gets what it did not ask for then, nor pays for what others had.
//
// Bounded: of many tenants those are forgotten that wait for nothing, and start at the clock when
// they come again. Who waits is remembered; the queue bounds how many these are. Engine-thread
// only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/container/flat_hash_map.h"

namespace reprise::engine {

class TenantShares {
 public:
  // Remembered although they wait for nothing.
  static constexpr size_t kMaxTenants = 4096;

  // `tenant` has something to be served again, and has nothing more. As many of the one as of the
  // other: several of its lines may wait.
  void Join(const std::string& tenant);
  void Leave(const std::string& tenant);
  // Tokens it has been served, those included that it passed up.
  int64_t ServedTo(const std::string& tenant) const;
  // `tenant` comes first now.
  void Serve(const std::string& tenant);
  // It was served so many tokens; negative: so many less than was charged before.
  void Charge(const std::string& tenant, int64_t tokens);
  size_t num_remembered() const { return shares_.size(); }

 private:
  struct Share {
    int64_t served = 0;
    int64_t waiting_lines = 0;
  };

  // The share of `tenant`, which starts at the clock if it is not remembered.
  Share& Remember(const std::string& tenant);
  void ForgetIdle();

  int64_t clock_ = 0;
  absl::flat_hash_map<std::string, Share> shares_;  // no entry: at the clock
  size_t forget_at_ = kMaxTenants;                  // so many entries
};

}  // namespace reprise::engine
