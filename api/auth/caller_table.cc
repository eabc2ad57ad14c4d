#include "api/auth/caller_table.h"

namespace reprise::api {

CallerTable& CallerTable::Get() {
  static CallerTable* const table = new CallerTable;
  return *table;
}

void CallerTable::Add(const grpc::ServerContextBase* context, Caller* caller) {
  absl::MutexLock lock(&mu_);
  callers_[context] = caller;
}

void CallerTable::Remove(const grpc::ServerContextBase* context, const Caller* caller) {
  absl::MutexLock lock(&mu_);
  const auto it = callers_.find(context);
  // The next call's context may lie where this one's has lain.
  if (it != callers_.end() && it->second == caller) callers_.erase(it);
}

Caller* CallerTable::Find(const grpc::ServerContextBase& context) const {
  absl::ReaderMutexLock lock(&mu_);
  const auto it = callers_.find(&context);
  return it == callers_.end() ? nullptr : it->second;
}

std::vector<grpc_call*> CallerTable::EndCallsOf(const Guard* guard, const absl::Status& status) {
  std::vector<grpc_call*> calls;
  absl::MutexLock lock(&mu_);
  for (const auto& entry : callers_) {
    Caller& caller = *entry.second;
    if (caller.guard != guard) continue;
    absl::MutexLock call_lock(&caller.mu);
    if (caller.call == nullptr) continue;
    if (caller.end.ok()) caller.end = status;
    grpc_call_ref(caller.call);
    calls.push_back(caller.call);
  }
  return calls;
}

}  // namespace reprise::api
