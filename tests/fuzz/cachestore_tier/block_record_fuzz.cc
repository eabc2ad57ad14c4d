// Index records: whatever decodes is exactly what encodes to the same bytes.
#include <cstdint>
#include <string>
#include <vector>

#include "cachestore/base/check.h"
#include "cachestore/tier/block_record.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace reprise::cachestore;  // NOLINT
  const absl::string_view bytes(reinterpret_cast<const char*>(data), size);
  const absl::StatusOr<BlockRecord> record = DecodeBlockRecord(bytes);
  if (!record.ok()) return 0;
  std::vector<TokenId> tokens;
  DecodeRecordTokens(bytes, &tokens);
  CHECK(EncodeBlockRecord(*record, tokens) == bytes);
  return 0;
}
