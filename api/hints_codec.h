// CacheHints of messages, checked, as the store takes them.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "api/auth/principal.h"
#include "api/namespace_table.h"
#include "cachestore/policy/request_hints.h"
#include "reprise/v1/cache.pb.h"
#include "reprise/v1/inference.pb.h"

namespace reprise::api {

namespace v1 = ::reprise::v1;

// What `message` says of a request by `principal` for blocks of `tenant`. Sessions of different
// tenants are different. kInvalidArgument names the field that is out of its range.
absl::StatusOr<cachestore::RequestHints> HintsFrom(const v1::CacheHints& message,
                                                   const Principal& principal,
                                                   absl::string_view tenant);
// The same for the principal's own.
inline absl::StatusOr<cachestore::RequestHints> HintsFrom(const v1::CacheHints& message,
                                                          const Principal& principal) {
  return HintsFrom(message, principal, principal.tenant);
}

// The same of a request about a namespace with `rights`: of a caller that only reads it, what
// HintsOfReader leaves.
absl::StatusOr<cachestore::RequestHints> HintsFrom(const v1::CacheHints& message,
                                                   const Principal& principal,
                                                   const NamespaceRights& rights);

// What a conversation tells by itself, where `hints` leave it open: which turn of it comes, and
// whether a tool has answered to the one before.
void AddHintsOf(const v1::Conversation& conversation, cachestore::RequestHints* hints);

// Whether an answer to `conversation` may be the call of a tool.
bool OffersTools(const v1::Conversation& conversation);

// The priority that the caller has, who asks for `asked`: above 0 needs the role admin, because it
// goes before other tenants.
int32_t PriorityFor(const Principal& principal, int32_t asked);

}  // namespace reprise::api
