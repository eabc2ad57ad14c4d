#include "api/view/block_list.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "cachestore/base/status_macros.h"

namespace reprise::api {
namespace {

using cachestore::kEndOfList;

// Blocks asked of the store at a time.
constexpr int64_t kBlocksAtOnce = 256;

// Where a page begins: in which part of the list, and where in it.
struct Place {
  uint8_t part = 0;  // 1: of shared namespaces
  uint64_t cursor = 0;
};

std::string Encode(const Place& place) {
  std::string bytes(1, static_cast<char>(place.part));
  for (int shift = 0; shift < 64; shift += 8) {
    bytes.push_back(static_cast<char>(place.cursor >> shift));
  }
  return bytes;
}

absl::StatusOr<Place> DecodePlace(const std::string& bytes) {
  Place place;
  if (bytes.empty()) return place;
  if (bytes.size() == 9) {
    place.part = static_cast<uint8_t>(bytes[0]);
    for (size_t i = 0; i < 8; ++i) {
      place.cursor |= uint64_t{static_cast<unsigned char>(bytes[i + 1])} << (8 * i);
    }
    if (place.part <= 1 && place.cursor < kEndOfList) return place;
  }
  return absl::InvalidArgumentError("cursor is not one that List has answered");
}

v1::ListedBlock ToProto(const cachestore::ListedBlock& block, const KnownNamespace& in) {
  v1::ListedBlock message;
  message.set_key(KeyBytes(block.key));
  if (block.depth > 0) message.set_parent_key(KeyBytes(block.parent));
  *message.mutable_in_namespace() = in.name;
  message.set_depth(block.depth);
  message.set_bytes(block.bytes);
  for (const cachestore::CacheTier tier : cachestore::kCacheTiers) {
    if (block.tiers.Has(tier)) message.add_tiers(TierName(tier));
  }
  message.set_pins(static_cast<int32_t>(block.pins));
  if (block.words.empty()) return message;
  if (in.key_source == cachestore::KeySource::kTokens) {
    message.mutable_token_ids()->Assign(block.words.begin(), block.words.end());
  } else {
    cachestore::ExternalKey key;
    std::copy_n(block.words.begin(), std::min(key.words.size(), block.words.size()),
                key.words.begin());
    message.set_external_key(key.ToBytes());
  }
  return message;
}

}  // namespace

absl::StatusOr<v1::ListResponse> ListBlocks(const cachestore::TieredStore& store,
                                            NamespaceNames& names, const Principal& principal,
                                            const std::optional<cachestore::NamespaceHandle>& ns,
                                            const v1::ListRequest& request) {
  if (request.page_size() < 0 || request.page_size() > kMaxListPageSize) {
    return absl::InvalidArgumentError(absl::StrCat("page_size is ", request.page_size(),
                                                   "; it must be from 0 to ", kMaxListPageSize));
  }
  const int64_t page_size = request.page_size() > 0 ? request.page_size() : kListPageSize;
  ASSIGN_OR_RETURN(Place place, DecodePlace(request.cursor()));
  const bool in_parts = !ns.has_value() && !principal.tenant.empty();
  v1::ListResponse response;
  int64_t words = 0;
  while (response.blocks_size() < page_size && words < kMaxListWords) {
    cachestore::ListRequest asked;
    if (ns.has_value()) {
      asked.scope = cachestore::BlocksOfNamespace{*ns};
    } else if (in_parts) {
      asked.scope = cachestore::BlocksOfTenant{place.part == 0 ? principal.tenant
                                                               : std::string(kSharedTenant)};
    } else {
      asked.scope = cachestore::AllBlocks{};
    }
    asked.cursor = place.cursor;
    asked.max_blocks =
        static_cast<size_t>(std::min(kBlocksAtOnce, page_size - response.blocks_size()));
    asked.with_words = request.with_token_ids();
    const cachestore::ListPage page = store.List(asked);
    for (const cachestore::ListedBlock& block : page.blocks) {
      words += static_cast<int64_t>(block.words.size());
      const auto known = names.Find(block.namespace_id);
      if (known != nullptr) *response.add_blocks() = ToProto(block, *known);
    }
    place.cursor = page.cursor;
    if (page.cursor < kEndOfList) continue;
    if (!in_parts || place.part == 1) return response;
    place = {.part = 1, .cursor = 0};
  }
  response.set_cursor(Encode(place));
  return response;
}

}  // namespace reprise::api
