// Credentials files: whatever the text, parsing ends with credentials or with an error that repeats
// no long piece of it, since that may be a secret.
#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "api/auth/credentials.h"
#include "cachestore/base/check.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace reprise::api;  // NOLINT
  const std::string text(reinterpret_cast<const char*>(data), size);
  const auto credentials = Credentials::Parse(text);
  if (credentials.ok()) {
    for (const auto& [tenant, limits] : credentials->limits()) {
      CHECK(IsCredentialName(tenant));
      CHECK(limits.bytes_per_second >= 0 && limits.calls_per_second >= 0);
      CHECK(limits.quota.ram_bytes >= 0 && limits.quota.disk_bytes >= 0);
    }
    return 0;
  }
  // A token has 43 random letters; a name that errors repeat has 64 at most.
  constexpr size_t kLongest = 80;
  const absl::string_view message = credentials.status().message();
  for (size_t i = 0; i + kLongest <= message.size(); ++i) {
    CHECK(text.find(std::string(message.substr(i, kLongest))) == std::string::npos);
  }
  return 0;
}
