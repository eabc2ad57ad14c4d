#include "api/payload_wire.h"

#include <algorithm>
#include <optional>
#include <string>

#include "cachestore/base/hash.h"

namespace reprise::api {
namespace {

// How a field's value is encoded (protobuf's wire types). Groups are not: proto3 has none.
enum WireType : uint32_t { kVarint = 0, kFixed64 = 1, kLengthDelimited = 2, kFixed32 = 5 };

// Of a value, and of a tag or length.
constexpr int kMaxVarintBytes = 10;
constexpr int kMaxShortVarintBytes = 5;

absl::Span<const std::byte> BytesOf(const grpc::Slice& slice) {
  return {reinterpret_cast<const std::byte*>(slice.begin()), slice.size()};
}

void AppendVarint(uint64_t value, std::string* to) {
  for (; value >= 0x80; value >>= 7) to->push_back(static_cast<char>(value | 0x80));
  to->push_back(static_cast<char>(value));
}

// Reads a message that lies in pieces.
class PieceReader {
 public:
  explicit PieceReader(const std::vector<grpc::Slice>& pieces) : pieces_(pieces) {
    for (const grpc::Slice& piece : pieces) left_ += piece.size();
  }

  size_t left() const { return left_; }

  // Reads a varint of at most `max_bytes`; false: there is none.
  bool ReadVarint(int max_bytes, uint64_t* value) {
    *value = 0;
    for (int i = 0; i < max_bytes && left_ > 0; ++i) {
      uint8_t byte = 0;
      ForEachPiece(1,
                   [&](const grpc::Slice& piece, size_t at, size_t) { byte = piece.begin()[at]; });
      *value |= uint64_t{byte & 0x7fu} << (7 * i);
      if (byte < 0x80) return true;
    }
    return false;
  }

  // Appends the next `count` bytes to `to`. REQUIRES: count <= left().
  void Copy(size_t count, std::string* to) {
    ForEachPiece(count, [to](const grpc::Slice& piece, size_t at, size_t length) {
      to->append(reinterpret_cast<const char*>(piece.begin()) + at, length);
    });
  }

  // The next `count` bytes, shared. REQUIRES: count <= left().
  std::vector<grpc::Slice> Share(size_t count) {
    std::vector<grpc::Slice> shared;
    ForEachPiece(count, [&shared](const grpc::Slice& piece, size_t at, size_t length) {
      shared.push_back(piece.sub(at, at + length));
    });
    return shared;
  }

 private:
  // Calls `use` with a piece, a place in it and a length for the next `count` bytes, and goes on
  // behind them.
  template <typename Use>
  void ForEachPiece(size_t count, Use use) {
    left_ -= count;
    while (count > 0) {
      const grpc::Slice& piece = pieces_[piece_];
      const size_t length = std::min(count, piece.size() - at_);
      if (length > 0) use(piece, at_, length);
      count -= length;
      at_ += length;
      if (at_ == piece.size()) {
        ++piece_;
        at_ = 0;
      }
    }
  }

  const std::vector<grpc::Slice>& pieces_;
  size_t piece_ = 0;
  size_t at_ = 0;  // in that piece
  size_t left_ = 0;
};

// Bytes of the value that comes next, of a field with `type`; its length, if it has one, is read
// and appended to `head`. nullopt: no such value.
std::optional<size_t> ValueBytes(uint32_t type, PieceReader* reader, std::string* head) {
  uint64_t number = 0;
  switch (type) {
    case kVarint:
      if (!reader->ReadVarint(kMaxVarintBytes, &number)) return std::nullopt;
      AppendVarint(number, head);
      return 0;
    case kFixed64:
      return 8;
    case kFixed32:
      return 4;
    case kLengthDelimited:
      if (!reader->ReadVarint(kMaxShortVarintBytes, &number)) return std::nullopt;
      if (number > reader->left()) return std::nullopt;
      AppendVarint(number, head);
      return static_cast<size_t>(number);
    default:
      return std::nullopt;
  }
}

absl::Status Malformed() { return absl::InvalidArgumentError("the message cannot be parsed"); }

}  // namespace

Payload::Payload(std::vector<grpc::Slice> pieces) : pieces_(std::move(pieces)) {
  for (const grpc::Slice& piece : pieces_) size_ += piece.size();
}

Payload Payload::Part(size_t begin, size_t count) const {
  std::vector<grpc::Slice> part;
  for (const grpc::Slice& piece : pieces_) {
    if (count == 0) break;
    if (begin >= piece.size()) {
      begin -= piece.size();
      continue;
    }
    const size_t length = std::min(count, piece.size() - begin);
    part.push_back(piece.sub(begin, begin + length));
    begin = 0;
    count -= length;
  }
  return Payload(std::move(part));
}

uint64_t Payload::Hash() const {
  cachestore::StreamHash64 hash;
  for (const grpc::Slice& piece : pieces_) hash.Add(BytesOf(piece));
  return hash.hash();
}

uint64_t Payload::CopyTo(std::byte* to) const {
  cachestore::StreamHash64 hash;
  for (const grpc::Slice& piece : pieces_) {
    hash.AddCopy(BytesOf(piece), to);
    to += piece.size();
  }
  return hash.hash();
}

grpc::ByteBuffer JoinPayload(const google::protobuf::MessageLite& message, int payload_field,
                             std::vector<grpc::Slice> payload) {
  size_t bytes = 0;
  for (const grpc::Slice& piece : payload) bytes += piece.size();
  std::string head = message.SerializeAsString();
  AppendVarint(uint64_t{static_cast<uint32_t>(payload_field)} << 3 | kLengthDelimited, &head);
  AppendVarint(bytes, &head);
  payload.insert(payload.begin(), grpc::Slice(head));
  return grpc::ByteBuffer(payload.data(), payload.size());
}

absl::StatusOr<Payload> SplitPayload(const grpc::ByteBuffer& bytes, int payload_field,
                                     google::protobuf::MessageLite* message) {
  std::vector<grpc::Slice> pieces;
  if (!bytes.Dump(&pieces).ok()) return Malformed();
  Payload payload;
  std::string rest;
  PieceReader reader(pieces);
  while (reader.left() > 0) {
    uint64_t tag = 0;
    if (!reader.ReadVarint(kMaxShortVarintBytes, &tag)) return Malformed();
    tag = static_cast<uint32_t>(tag);  // as protobuf takes it
    std::string head;
    AppendVarint(tag, &head);
    const uint32_t type = tag & 7;
    const std::optional<size_t> length = ValueBytes(type, &reader, &head);
    if (!length.has_value() || *length > reader.left()) return Malformed();
    if (tag >> 3 == static_cast<uint64_t>(payload_field) && type == kLengthDelimited) {
      payload = Payload(reader.Share(*length));
      continue;
    }
    rest += head;
    reader.Copy(*length, &rest);
  }
  if (!message->ParseFromString(rest)) return Malformed();
  return payload;
}

}  // namespace reprise::api
