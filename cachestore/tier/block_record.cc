#include "cachestore/tier/block_record.h"

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "cachestore/base/check.h"
#include "cachestore/base/status_macros.h"
#include "cachestore/tier/little_endian.h"

namespace reprise::cachestore {
namespace {

constexpr size_t kVersionOffset = 0;
constexpr size_t kNumTokensOffset = 4;
constexpr size_t kParentOffset = 8;
constexpr size_t kRootOffset = 24;
constexpr size_t kPayloadBytesOffset = 40;
constexpr size_t kPayloadHashOffset = 48;
constexpr size_t kSequenceOffset = 56;
constexpr size_t kFileIdOffset = 64;
constexpr size_t kSlotOffset = 68;
constexpr size_t kTokensOffset = 72;

absl::Status CheckAtMost(absl::string_view field, uint64_t value, uint64_t greatest) {
  if (value <= greatest) return absl::OkStatus();
  return absl::DataLossError(
      absl::StrCat("index record: ", field, " is ", value, ", at most ", greatest, " can be"));
}

}  // namespace

std::string EncodeIndexKey(const BlockKey& key) {
  std::string bytes(kIndexKeyBytes, '\0');
  for (int i = 0; i < 8; ++i) {
    bytes[i] = static_cast<char>(key.hi >> (56 - 8 * i));
    bytes[8 + i] = static_cast<char>(key.lo >> (56 - 8 * i));
  }
  return bytes;
}

BlockKey DecodeIndexKey(absl::string_view bytes) {
  CHECK(bytes.size() == kIndexKeyBytes);
  BlockKey key;
  for (int i = 0; i < 8; ++i) {
    key.hi = key.hi << 8 | static_cast<unsigned char>(bytes[i]);
    key.lo = key.lo << 8 | static_cast<unsigned char>(bytes[8 + i]);
  }
  return key;
}

std::string EncodeBlockRecord(const BlockRecord& record, absl::Span<const TokenId> tokens) {
  std::string bytes(kTokensOffset + 4 * tokens.size(), '\0');
  PutLittleEndian32(kBlockRecordVersion, &bytes[kVersionOffset]);
  PutLittleEndian32(static_cast<uint32_t>(tokens.size()), &bytes[kNumTokensOffset]);
  PutKey(record.parent, &bytes[kParentOffset]);
  PutKey(record.root, &bytes[kRootOffset]);
  PutLittleEndian64(record.payload_bytes, &bytes[kPayloadBytesOffset]);
  PutLittleEndian64(record.payload_hash, &bytes[kPayloadHashOffset]);
  PutLittleEndian64(record.sequence, &bytes[kSequenceOffset]);
  PutLittleEndian32(record.address.file_id, &bytes[kFileIdOffset]);
  PutLittleEndian32(record.address.slot, &bytes[kSlotOffset]);
  for (size_t i = 0; i < tokens.size(); ++i) {
    PutLittleEndian32(tokens[i], &bytes[kTokensOffset + 4 * i]);
  }
  return bytes;
}

absl::StatusOr<BlockRecord> DecodeBlockRecord(absl::string_view bytes) {
  if (bytes.size() < kTokensOffset) {
    return absl::DataLossError(absl::StrCat("index record of ", bytes.size(),
                                            " bytes, expected at least ", kTokensOffset));
  }
  const char* in = bytes.data();
  const uint32_t version = GetLittleEndian32(in + kVersionOffset);
  if (version != kBlockRecordVersion) {
    return absl::DataLossError(
        absl::StrCat("index record of version ", version, ", expected ", kBlockRecordVersion));
  }
  const uint64_t expected = kTokensOffset + 4 * uint64_t{GetLittleEndian32(in + kNumTokensOffset)};
  if (bytes.size() != expected) {
    return absl::DataLossError(
        absl::StrCat("index record of ", bytes.size(), " bytes, expected ", expected));
  }
  const BlockRecord record = {
      .parent = GetKey(in + kParentOffset),
      .root = GetKey(in + kRootOffset),
      .payload_bytes = GetLittleEndian64(in + kPayloadBytesOffset),
      .payload_hash = GetLittleEndian64(in + kPayloadHashOffset),
      .sequence = GetLittleEndian64(in + kSequenceOffset),
      .address = {.file_id = GetLittleEndian32(in + kFileIdOffset),
                  .slot = GetLittleEndian32(in + kSlotOffset)},
  };
  RETURN_IF_ERROR(CheckAtMost("payload length", record.payload_bytes, kMaxPayloadBytes));
  RETURN_IF_ERROR(CheckAtMost("sequence", record.sequence, kMaxSequence));
  RETURN_IF_ERROR(CheckAtMost("file id", record.address.file_id, kMaxFileId));
  return record;
}

void DecodeRecordTokens(absl::string_view bytes, std::vector<TokenId>* tokens) {
  tokens->resize((bytes.size() - kTokensOffset) / 4);
  for (size_t i = 0; i < tokens->size(); ++i) {
    (*tokens)[i] = GetLittleEndian32(bytes.data() + kTokensOffset + 4 * i);
  }
}

}  // namespace reprise::cachestore
