#include "api/send_budget.h"

#include <algorithm>

#include "cachestore/base/check.h"

namespace reprise::api {

namespace {

bool IsZero(const int64_t* bytes) { return *bytes == 0; }

}  // namespace

SendBudget::~SendBudget() {
  AwaitIdle(absl::InfiniteFuture());
  absl::MutexLock lock(&mu_);
  CHECK(line_.empty());
}

bool SendBudget::AwaitIdle(absl::Time deadline) const {
  absl::MutexLock lock(&mu_);
  return mu_.AwaitWithDeadline(absl::Condition(IsZero, &held_), deadline);
}

bool SendBudget::BeginCall(const std::string& tenant) {
  absl::MutexLock lock(&mu_);
  if (calls_ == max_calls_) return false;
  if (!tenant.empty()) {
    int& of_tenant = tenant_calls_[tenant];
    if (of_tenant == max_tenant_calls_) return false;
    ++of_tenant;
  }
  ++calls_;
  return true;
}

void SendBudget::EndCall(const std::string& tenant) {
  absl::MutexLock lock(&mu_);
  --calls_;
  if (tenant.empty()) return;
  const auto it = tenant_calls_.find(tenant);
  if (--it->second == 0) tenant_calls_.erase(it);
}

int64_t SendBudget::held_bytes() const {
  absl::MutexLock lock(&mu_);
  return held_;
}

int64_t SendBudget::peak_bytes() const {
  absl::MutexLock lock(&mu_);
  return peak_;
}

bool SendBudget::Take(int64_t bytes, RoomWaiter* waiter) {
  CHECK(bytes <= limit_);
  absl::MutexLock lock(&mu_);
  if (!line_.empty() || held_ + bytes > limit_) {
    line_.push_back({bytes, waiter});
    return false;
  }
  held_ += bytes;
  peak_ = std::max(peak_, held_);
  return true;
}

bool SendBudget::Leave(RoomWaiter* waiter) {
  std::vector<RoomWaiter*> served;
  bool left = false;
  {
    absl::MutexLock lock(&mu_);
    left = std::erase_if(line_, [waiter](const Waiting& w) { return w.waiter == waiter; }) > 0;
    served = ServeLocked();  // who stood behind it may want less
  }
  for (RoomWaiter* next : served) next->OnRoom();
  return left;
}

bool SendBudget::scarce() const {
  absl::MutexLock lock(&mu_);
  return !line_.empty();
}

void SendBudget::Give(int64_t bytes) {
  std::vector<RoomWaiter*> served;
  {
    absl::MutexLock lock(&mu_);
    held_ -= bytes;
    CHECK(held_ >= 0);
    served = ServeLocked();
  }
  for (RoomWaiter* waiter : served) waiter->OnRoom();
}

std::vector<RoomWaiter*> SendBudget::ServeLocked() {
  std::vector<RoomWaiter*> served;
  while (!line_.empty() && held_ + line_.front().bytes <= limit_) {
    held_ += line_.front().bytes;
    peak_ = std::max(peak_, held_);
    served.push_back(line_.front().waiter);
    line_.pop_front();
  }
  return served;
}

}  // namespace reprise::api
