// NamespaceIdentity between its three forms: the store's struct, the API's message, and JSON.
// Pure functions.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "cachestore/block/namespace_identity.h"
#include "reprise/v1/cache.pb.h"

namespace reprise::api {

v1::NamespaceIdentity ToProto(const cachestore::NamespaceIdentity& identity);

// kInvalidArgument names the field that is missing or impossible.
absl::StatusOr<cachestore::NamespaceIdentity> FromProto(const v1::NamespaceIdentity& message);

// Indented JSON with the field names of the proto file; every field is written.
std::string ToJson(const v1::NamespaceIdentity& message);
// The inverse of ToJson. kInvalidArgument: not JSON, or an unknown field, with the cause.
absl::StatusOr<v1::NamespaceIdentity> IdentityFromJson(absl::string_view json);

}  // namespace reprise::api
