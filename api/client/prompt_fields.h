// What names namespaces and the blocks of a prompt, in a request's fields. Used by the client
// library alone.
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

// A request about `prompt` in a namespace.
template <typename Request>
Request PromptRequest(uint32_t namespace_id, const cachestore::BlockContent& prompt) {
  Request request;
  request.set_namespace_id(namespace_id);
  SetContent(prompt, request.mutable_token_ids(), request.mutable_external_keys());
  return request;
}

// The namespace that the scope of `request` is of; 0: of none.
template <typename Request>
uint32_t ScopeNamespace(const Request& request) {
  return request.has_prefix() ? request.prefix().namespace_id() : request.namespace_id();
}

// Makes it `id`, if the scope is of one.
template <typename Request>
void SetScopeNamespace(uint32_t id, Request* request) {
  if (request->has_prefix()) request->mutable_prefix()->set_namespace_id(id);
  if (request->has_namespace_id()) request->set_namespace_id(id);
}

}  // namespace reprise::api
