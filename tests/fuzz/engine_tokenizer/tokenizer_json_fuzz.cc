// tokenizer.json: whatever loads encodes any text, streams it in whole characters, and gives no
// special token for text that is plain.
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "cachestore/base/check.h"
#include "engine/text/utf8.h"
#include "engine/tokenizer/tokenizer_json.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace reprise::engine;  // NOLINT
  const std::string json(reinterpret_cast<const char*>(data), size);
  const auto tokenizer = ParseTokenizerJson(json, "fuzz");
  if (!tokenizer.ok()) return 0;
  MarkedText text("<s> a  b\n12 \u2581 \u00e9e\u0301 ");
  text.AppendPlain("<s> \U0001f409 <0x41> </s>");
  text.AppendOwn("</s>");
  const absl::StatusOr<std::vector<uint32_t>> ids = (*tokenizer)->EncodeMarked(text);
  if (!ids.ok()) return 0;
  StreamDecoder stream(tokenizer->get());
  for (const uint32_t id : *ids) {
    CHECK(id < (*tokenizer)->vocab_size());
    CHECK(!FindInvalidUtf8(stream.Push(id)).has_value());
  }
  CHECK(!FindInvalidUtf8(stream.Finish()).has_value());
  CHECK(!FindInvalidUtf8((*tokenizer)->Decode(*ids)).has_value());
  return 0;
}
