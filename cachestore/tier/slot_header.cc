#include "cachestore/tier/slot_header.h"

#include <cstring>
#include <string>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "cachestore/base/check.h"
#include "cachestore/base/hash.h"
#include "cachestore/base/status_macros.h"
#include "cachestore/tier/block_file.h"
#include "cachestore/tier/little_endian.h"

namespace reprise::cachestore {
namespace {

constexpr char kMagic[] = "RPRSLOT1";
constexpr size_t kMagicBytes = 8;
constexpr uint32_t kCodecRaw = 0;

constexpr size_t kVersionOffset = 8;
constexpr size_t kCodecOffset = 12;
constexpr size_t kKeyOffset = 16;
constexpr size_t kParentOffset = 32;
constexpr size_t kRootOffset = 48;
constexpr size_t kPayloadBytesOffset = 64;
constexpr size_t kPayloadHashOffset = 72;
constexpr size_t kSequenceOffset = 80;
constexpr size_t kPieceBytesOffset = 88;
constexpr size_t kPieceHashesOffset = 96;
constexpr size_t kHeaderHashOffset = kSlotHeaderBytes - 8;

absl::Status Differs(absl::string_view field, absl::string_view found, absl::string_view expected) {
  return absl::DataLossError(
      absl::StrCat("slot header: ", field, " is ", found, ", expected ", expected));
}

absl::Status CheckNumber(absl::string_view field, uint64_t found, uint64_t expected) {
  if (found == expected) return absl::OkStatus();
  return Differs(field, absl::StrCat(found), absl::StrCat(expected));
}

absl::Status CheckHash(absl::string_view field, uint64_t found, uint64_t expected) {
  if (found == expected) return absl::OkStatus();
  return Differs(field, absl::StrCat(absl::Hex(found)), absl::StrCat(absl::Hex(expected)));
}

absl::Status CheckKey(absl::string_view field, const char* in, const BlockKey& expected) {
  const BlockKey found = GetKey(in);
  if (found == expected) return absl::OkStatus();
  return Differs(field, found.ToHex(), expected.ToHex());
}

size_t NumPieces(uint64_t payload_bytes, uint64_t piece_bytes) {
  return payload_bytes / piece_bytes + (payload_bytes % piece_bytes > 0 ? 1 : 0);
}

// The pieces that a whole header of a payload of `payload_bytes` bytes names.
absl::StatusOr<SlotPieces> GetPieces(const char* in, uint64_t payload_bytes) {
  if (GetLittleEndian32(in + kVersionOffset) == 1) {
    return SlotPieces{.piece_bytes = payload_bytes,
                      .hashes = {GetLittleEndian64(in + kPayloadHashOffset)}};
  }
  SlotPieces pieces = {.piece_bytes = GetLittleEndian64(in + kPieceBytesOffset), .hashes = {}};
  if (pieces.piece_bytes == 0 || pieces.piece_bytes % kIoAlignment != 0 ||
      NumPieces(payload_bytes, pieces.piece_bytes) > kMaxSlotPieces) {
    return Differs("piece length", absl::StrCat(pieces.piece_bytes),
                   absl::StrCat("a multiple of ", kIoAlignment, ", at most ", kMaxSlotPieces,
                                " of them in ", payload_bytes));
  }
  pieces.hashes.resize(NumPieces(payload_bytes, pieces.piece_bytes));
  for (size_t i = 0; i < pieces.hashes.size(); ++i) {
    pieces.hashes[i] = GetLittleEndian64(in + kPieceHashesOffset + 8 * i);
  }
  return pieces;
}

}  // namespace

void EncodeSlotHeader(const SlotHeader& header, const SlotPieces& pieces,
                      absl::Span<std::byte> out) {
  CHECK(out.size() == kSlotHeaderBytes);
  CHECK(pieces.hashes.size() <= kMaxSlotPieces);
  CHECK(pieces.hashes.size() == NumPieces(header.payload_bytes, pieces.piece_bytes));
  char* bytes = reinterpret_cast<char*>(out.data());
  std::memset(bytes, 0, kSlotHeaderBytes);
  std::memcpy(bytes, kMagic, kMagicBytes);
  PutLittleEndian32(kSlotHeaderVersion, bytes + kVersionOffset);
  PutLittleEndian32(kCodecRaw, bytes + kCodecOffset);
  PutKey(header.key, bytes + kKeyOffset);
  PutKey(header.parent, bytes + kParentOffset);
  PutKey(header.root, bytes + kRootOffset);
  PutLittleEndian64(header.payload_bytes, bytes + kPayloadBytesOffset);
  PutLittleEndian64(header.payload_hash, bytes + kPayloadHashOffset);
  PutLittleEndian64(header.sequence, bytes + kSequenceOffset);
  PutLittleEndian64(pieces.piece_bytes, bytes + kPieceBytesOffset);
  for (size_t i = 0; i < pieces.hashes.size(); ++i) {
    PutLittleEndian64(pieces.hashes[i], bytes + kPieceHashesOffset + 8 * i);
  }
  PutLittleEndian64(HashBytes64(out.first(kHeaderHashOffset)), bytes + kHeaderHashOffset);
}

absl::StatusOr<SlotPieces> CheckSlotHeader(absl::Span<const std::byte> bytes,
                                           const SlotHeader& expected) {
  CHECK(bytes.size() == kSlotHeaderBytes);
  const char* in = reinterpret_cast<const char*>(bytes.data());
  if (std::memcmp(in, kMagic, kMagicBytes) != 0) {
    return Differs("magic", absl::CHexEscape(absl::string_view(in, kMagicBytes)), kMagic);
  }
  const uint32_t version = GetLittleEndian32(in + kVersionOffset);
  if (version != 1) RETURN_IF_ERROR(CheckNumber("version", version, kSlotHeaderVersion));
  RETURN_IF_ERROR(CheckNumber("codec", GetLittleEndian32(in + kCodecOffset), kCodecRaw));
  RETURN_IF_ERROR(CheckKey("key", in + kKeyOffset, expected.key));
  RETURN_IF_ERROR(CheckKey("parent", in + kParentOffset, expected.parent));
  RETURN_IF_ERROR(CheckKey("root", in + kRootOffset, expected.root));
  RETURN_IF_ERROR(CheckNumber("payload length", GetLittleEndian64(in + kPayloadBytesOffset),
                              expected.payload_bytes));
  RETURN_IF_ERROR(CheckHash("payload checksum", GetLittleEndian64(in + kPayloadHashOffset),
                            expected.payload_hash));
  RETURN_IF_ERROR(
      CheckNumber("sequence", GetLittleEndian64(in + kSequenceOffset), expected.sequence));
  RETURN_IF_ERROR(CheckHash("header checksum", GetLittleEndian64(in + kHeaderHashOffset),
                            HashBytes64(bytes.first(kHeaderHashOffset))));
  return GetPieces(in, expected.payload_bytes);
}

}  // namespace reprise::cachestore
