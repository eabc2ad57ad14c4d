#include "api/client/prompt_fields.h"

#include "absl/types/span.h"

namespace reprise::api {

using cachestore::ExternalKey;

void SetContent(const cachestore::BlockContent& content,
                google::protobuf::RepeatedField<uint32_t>* token_ids,
                google::protobuf::RepeatedPtrField<std::string>* external_keys) {
  const absl::Span<const uint32_t> words = content.words();
  if (content.source() == cachestore::KeySource::kTokens) {
    token_ids->Assign(words.begin(), words.end());
    return;
  }
  external_keys->Clear();
  for (size_t i = 0; i < words.size(); i += ExternalKey::kWords) {
    external_keys->Add(std::string(reinterpret_cast<const char*>(&words[i]), ExternalKey::kBytes));
  }
}

}  // namespace reprise::api
