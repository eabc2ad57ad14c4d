// TenantShares: how many tokens each tenant has been served, so that the one
// with the least comes first.
//
// A tenant that comes after a pause starts at the clock, which is where the
// tenant that was served last stood: it neither gets what it did not ask for
// then, nor pays for what others had. Bounded: when there are too many tenants
// to remember, all of them start at the clock. Engine-thread only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/container/flat_hash_map.h"

namespace reprise::engine {

class TenantShares {
 public:
  static constexpr size_t kMaxTenants = 4096;

  // `tenant` has something to be served again.
  void Join(const std::string& tenant);
  // Tokens it has been served, those included that it passed up.
  int64_t ServedTo(const std::string& tenant) const;
  // `tenant` comes first now.
  void Serve(const std::string& tenant);
  // It was served so many tokens; negative: so many less than was charged
  // before.
  void Charge(const std::string& tenant, int64_t tokens);

 private:
  int64_t clock_ = 0;
  absl::flat_hash_map<std::string, int64_t> served_;  // no entry: at the clock
};

}  // namespace reprise::engine
