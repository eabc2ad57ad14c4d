#include "cachestore/policy/waiting_requests.h"

#include <iterator>
#include <utility>

#include "cachestore/base/check.h"

namespace reprise::cachestore {
namespace {

// Requests that wait longer are taken to be given up.
constexpr int64_t kMaxWaitUs = 60'000'000;

}  // namespace

void WaitingRequests::Add(uint64_t request, int64_t now_us, std::vector<BlockId> blocks) {
  CHECK(!blocks.empty() && blocks.size() <= room());
  num_blocks_ += blocks.size();
  waiting_.push_back({request, now_us, std::move(blocks)});
  CHECK(by_request_.emplace(request, std::prev(waiting_.end())).second);
}

std::vector<BlockId> WaitingRequests::Take(uint64_t request) {
  const auto it = by_request_.find(request);
  if (it == by_request_.end()) return {};
  std::vector<BlockId> blocks = std::move(it->second->blocks);
  num_blocks_ -= blocks.size();
  waiting_.erase(it->second);
  by_request_.erase(it);
  return blocks;
}

bool WaitingRequests::HasOverdue(int64_t now_us) const {
  return !waiting_.empty() && waiting_.front().since_us + kMaxWaitUs <= now_us;
}

}  // namespace reprise::cachestore
