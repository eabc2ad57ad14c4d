// Namespace identities from the wire and from JSON: what is accepted survives every form unchanged,
// so that one identity never turns into another.
#include <google/protobuf/stubs/logging.h>

#include <cstdint>
#include <string>

#include "api/identity_codec.h"
#include "cachestore/base/check.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace reprise;                        // NOLINT
  static google::protobuf::LogSilencer silencer;  // protobuf logs every text that is not UTF-8
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  api::IdentityFromJson(bytes).IgnoreError();
  v1::NamespaceIdentity message;
  if (!message.ParseFromString(bytes)) return 0;
  const auto identity = api::FromProto(message);
  if (!identity.ok()) return 0;
  const absl::StatusOr<v1::NamespaceIdentity> from_json =
      api::IdentityFromJson(api::ToJson(api::ToProto(*identity)));
  CHECK(from_json.ok());
  const auto again = api::FromProto(*from_json);
  CHECK(again.ok());
  CHECK(*again == *identity);
  return 0;
}
