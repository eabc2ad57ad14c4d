// What names the blocks of a prompt, into a request's fields. Used by the client library alone.
#pragma once

#include <google/protobuf/repeated_field.h>

#include <cstdint>
#include <string>

#include "cachestore/block/block_content.h"

namespace reprise::api {

// Writes `content` into the one of the two fields that is for it.
void SetContent(const cachestore::BlockContent& content,
                google::protobuf::RepeatedField<uint32_t>* token_ids,
                google::protobuf::RepeatedPtrField<std::string>* external_keys);

}  // namespace reprise::api
