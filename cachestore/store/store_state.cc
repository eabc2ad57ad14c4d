#include "cachestore/store/store_state.h"

#include <algorithm>

namespace reprise::cachestore {

void StoreState::JoinShare(uint32_t namespace_id, uint32_t share) {
  NamespaceRecord& record = namespaces[namespace_id];
  std::vector<uint32_t>& its = shares[share].lines;
  const auto line = std::find_if(its.begin(), its.end(), [&](uint32_t known) {
    return lines[known].size_class == record.size_class;
  });
  record.share = share;
  pool.Join(namespace_id, share);
  book.JoinShare(namespace_id, share);
  record.line = line == its.end() ? static_cast<uint32_t>(lines.size()) : *line;
  if (line == its.end()) {
    lines.push_back({.size_class = record.size_class, .share = share});
    its.push_back(record.line);
  }
  if (share != kCommonShare) shares[share].namespaces.push_back(namespace_id);
}

uint32_t StoreState::ShareFor(const std::string& tenant) {
  const auto [known, is_new] =
      share_of_tenant.try_emplace(tenant, static_cast<uint32_t>(shares.size()));
  if (is_new) shares.emplace_back().tenant = tenant;
  return known->second;
}

bool StoreState::LacksQuota(uint32_t namespace_id) const {
  const NamespaceRecord& record = namespaces[namespace_id];
  const Share& share = shares[record.share];
  if (share.quota.ram_bytes == 0) return false;
  return RamBytesOf(record.share) + static_cast<int64_t>(class_slot_bytes[record.size_class]) >
         share.quota.ram_bytes;
}

bool StoreState::FitsQuota(uint32_t namespace_id) const {
  const NamespaceRecord& record = namespaces[namespace_id];
  const int64_t quota = shares[record.share].quota.ram_bytes;
  return quota == 0 || static_cast<int64_t>(class_slot_bytes[record.size_class]) <= quota;
}

int64_t StoreState::ReadyBytesOf(uint32_t share) const {
  const Share& its = shares[share];
  return its.quota.ram_bytes - RamBytesOf(share) + std::min(its.clean_tail_bytes, its.clean_bytes);
}

}  // namespace reprise::cachestore
