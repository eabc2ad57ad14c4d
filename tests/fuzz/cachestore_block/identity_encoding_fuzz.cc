// Encoded identities: whatever decodes encodes to the same bytes, so no two encodings stand for one
// identity.
#include <cstdint>

#include "cachestore/base/check.h"
#include "cachestore/block/namespace_identity.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace reprise::cachestore;  // NOLINT
  const absl::string_view bytes(reinterpret_cast<const char*>(data), size);
  const absl::StatusOr<NamespaceIdentity> identity = NamespaceIdentity::Decode(bytes);
  if (!identity.ok() || !identity->Validate().ok()) return 0;
  CHECK(identity->Encode() == bytes);
  return 0;
}
