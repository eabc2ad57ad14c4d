// PayloadWire: messages whose field `bytes payload` is never copied into or out of a message. On
// the wire they are what protobuf makes of them, so either side may be a client or server that
// knows nothing of this. Pure functions, thread-safe.
#pragma once

#include <google/protobuf/message_lite.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/slice.h>

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace reprise::api {

// A payload as it came from the wire: pieces of the transport's memory, which it shares.
class Payload {
 public:
  Payload() = default;
  explicit Payload(std::vector<grpc::Slice> pieces);

  size_t size() const { return size_; }
  // In order; together the payload.
  const std::vector<grpc::Slice>& pieces() const { return pieces_; }
  // The `count` bytes from `begin` on, shared. REQUIRES: begin + count <= size().
  Payload Part(size_t begin, size_t count) const;
  // XXH3-64 of the bytes.
  uint64_t Hash() const;
  // Copies the bytes to `to`, size() long, and returns their XXH3-64.
  uint64_t CopyTo(std::byte* to) const;

 private:
  std::vector<grpc::Slice> pieces_;
  size_t size_ = 0;
};

// `message` with `payload`, its pieces one after the other, in its field `payload_field`, which is
// not set in it. The result shares the pieces and holds them as long as the transport needs them.
grpc::ByteBuffer JoinPayload(const google::protobuf::MessageLite& message, int payload_field,
                             std::vector<grpc::Slice> payload);

// The reverse: parses all but field `payload_field` into `message` and returns what that holds,
// empty if there is none. kInvalidArgument: the bytes are no such message.
absl::StatusOr<Payload> SplitPayload(const grpc::ByteBuffer& bytes, int payload_field,
                                     google::protobuf::MessageLite* message);

}  // namespace reprise::api
