// The blocks that a caller may see, as pages of messages.
#pragma once

#include <optional>

#include "absl/status/statusor.h"
#include "api/auth/principal.h"
#include "api/view/namespace_names.h"
#include "cachestore/store/tiered_store.h"
#include "reprise/v1/cache.pb.h"

namespace reprise::api {

// Blocks of one page, when the request names no number, and at most; token ids are told until a
// page holds so many bytes of them.
inline constexpr int32_t kListPageSize = 1000;
inline constexpr int32_t kMaxListPageSize = 10'000;
inline constexpr int64_t kMaxListWords = int64_t{2} << 20;

// A page of `ns`, or, without one, of all that `principal` may see: its tenant's blocks, then those
// of shared namespaces. kInvalidArgument: page_size or cursor.
absl::StatusOr<v1::ListResponse> ListBlocks(const cachestore::TieredStore& store,
                                            NamespaceNames& names, const Principal& principal,
                                            const std::optional<cachestore::NamespaceHandle>& ns,
                                            const v1::ListRequest& request);

}  // namespace reprise::api
