// Put's messages as they come from the wire: what protobuf takes, PayloadWire takes too, with the
// same meaning, and nothing else.
#include <google/protobuf/stubs/logging.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "api/payload_wire.h"
#include "cachestore/base/check.h"
#include "reprise/v1/cache.pb.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace reprise;  // NOLINT
  static google::protobuf::LogSilencer silencer;
  if (size < 2) return 0;
  const size_t length = 1 + data[0] % 64;  // of the pieces it comes in
  const std::string bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  std::vector<grpc::Slice> pieces;
  for (size_t at = 0; at < bytes.size(); at += length) {
    pieces.emplace_back(bytes.substr(at, length));
  }
  v1::PutRequest message;
  const auto payload = api::SplitPayload(grpc::ByteBuffer(pieces.data(), pieces.size()),
                                         v1::PutRequest::kPayloadFieldNumber, &message);
  if (!payload.ok()) return 0;
  std::string copy(payload->size(), 0);
  payload->CopyTo(reinterpret_cast<std::byte*>(copy.data()));
  v1::PutRequest expected;
  CHECK(expected.ParseFromString(bytes));
  message.set_payload(copy);
  CHECK(message.SerializeAsString() == expected.SerializeAsString());
  return 0;
}
