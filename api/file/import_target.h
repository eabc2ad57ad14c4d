// Where the blocks of an exported file are from and where they may go.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "api/auth/principal.h"
#include "cachestore/block/namespace_identity.h"
#include "cachestore/store/tiered_store.h"

namespace reprise::api {

// The canonical encoding of the identity of `ns`, which `store` has opened.
absl::StatusOr<std::string> EncodingOf(const cachestore::TieredStore& store,
                                       const cachestore::NamespaceHandle& ns);

// kFailedPrecondition: `identity` is neither that of the `served` model's blocks nor one of which
// `store` has a namespace; names the first field that differs, with both values. Tenant and salt
// are left aside.
absl::Status NeedKnownIdentity(const cachestore::TieredStore& store,
                               const cachestore::NamespaceIdentity& served,
                               const cachestore::NamespaceIdentity& identity);

// Whose namespace blocks go to which were a namespace of `tenant`: a credential of one tenant
// stores them as its own, and those of a shared namespace as shared ones if it may.
std::string TenantToImport(const Principal& principal, const std::string& tenant);

}  // namespace reprise::api
