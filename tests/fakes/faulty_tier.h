// FaultyTier: passes everything on to another tier, except for the faults that a test asked for. It
// can also hold loads at a gate, so that a test decides what happens while they run. Thread-safe.
#pragma once

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "cachestore/base/check.h"
#include "cachestore/tier/backing_tier.h"

namespace reprise::cachestore {

// The test's side; shared with the tier, which the store owns.
class FaultPlan {
 public:
  void FailLoadsOf(const BlockKey& key, absl::Status status) {
    absl::MutexLock lock(&mu_);
    failing_loads_[key] = std::move(status);
  }
  // One load in `n`, of any block, fails with `status`.
  void FailOneLoadIn(int64_t n, absl::Status status) {
    absl::MutexLock lock(&mu_);
    failing_load_ = n;
    any_load_status_ = std::move(status);
  }
  // Every Store, Erase and SaveState fails with `status` until it is OK again.
  void FailWrites(absl::Status status) {
    absl::MutexLock lock(&mu_);
    write_status_ = std::move(status);
  }
  // Every load ends so much later, and holds up its thread of the tier for so long.
  void SlowLoadsDown(absl::Duration by) {
    absl::MutexLock lock(&mu_);
    load_delay_ = by;
  }
  void CloseLoadGate() {
    absl::MutexLock lock(&mu_);
    gate_open_ = false;
  }
  void OpenLoadGate() {
    std::vector<absl::AnyInvocable<void() &&>> held;
    {
      absl::MutexLock lock(&mu_);
      gate_open_ = true;
      held.swap(held_);
    }
    for (auto& load : held) std::move(load)();
  }
  // Waits until `count` loads have reached the gate since the plan was made. Ends the test where
  // they do not come.
  void AwaitLoads(int64_t count) {
    absl::MutexLock lock(&mu_);
    const absl::Time give_up = absl::Now() + absl::Seconds(60);
    while (loads_ < count) CHECK(!changed_.WaitWithDeadline(&mu_, give_up));
  }
  // Loads by layer tell of their first `bytes` bytes and then wait for LetLoadsEnd(), with garbage
  // in place of the rest.
  void HoldLoadsBehind(uint64_t bytes) {
    absl::MutexLock lock(&mu_);
    hold_behind_ = bytes;
  }
  void LetLoadsEnd() {
    std::vector<absl::AnyInvocable<void() &&>> held;
    {
      absl::MutexLock lock(&mu_);
      hold_behind_ = 0;
      held.swap(held_ends_);
    }
    for (auto& end : held) std::move(end)();
  }
  // How many bytes of a load by layer come before it waits; 0: it does not.
  uint64_t hold_behind() const {
    absl::MutexLock lock(&mu_);
    return hold_behind_;
  }
  // Runs `end` when loads may end.
  void HoldEnd(absl::AnyInvocable<void() &&> end) {
    {
      absl::MutexLock lock(&mu_);
      if (hold_behind_ > 0) {
        held_ends_.push_back(std::move(end));
        return;
      }
    }
    std::move(end)();
  }
  // The same for Store and Erase.
  void CloseWriteGate() {
    absl::MutexLock lock(&mu_);
    write_gate_open_ = false;
    writes_ = 0;
  }
  void OpenWriteGate() {
    absl::MutexLock lock(&mu_);
    write_gate_open_ = true;
    changed_.SignalAll();
  }
  // Lets so many writes through the closed gate, those that wait first.
  void LetWritesPass(int64_t count) {
    absl::MutexLock lock(&mu_);
    passing_writes_ += count;
    changed_.SignalAll();
  }
  // Waits until `count` writes have reached the gate since it was closed, as AwaitLoads does.
  void AwaitWrites(int64_t count) {
    absl::MutexLock lock(&mu_);
    const absl::Time give_up = absl::Now() + absl::Seconds(60);
    while (writes_ < count) CHECK(!changed_.WaitWithDeadline(&mu_, give_up));
  }
  int64_t writes() const {
    absl::MutexLock lock(&mu_);
    return writes_;
  }
  int64_t loads() const {
    absl::MutexLock lock(&mu_);
    return loads_;
  }
  // SaveState: no write that waits at the gate.
  absl::Status SaveStatus() const {
    absl::MutexLock lock(&mu_);
    return write_status_;
  }
  void NoteSave() {
    absl::MutexLock lock(&mu_);
    ++saves_;
    changed_.SignalAll();
  }
  // Saves that have ended.
  int64_t saves() const {
    absl::MutexLock lock(&mu_);
    return saves_;
  }
  int64_t failed_writes() const {
    absl::MutexLock lock(&mu_);
    return failed_writes_;
  }

  // Runs `load` now, or when the gate is opened.
  void EnterLoad(absl::AnyInvocable<void() &&> load) {
    {
      absl::MutexLock lock(&mu_);
      ++loads_;
      changed_.SignalAll();
      if (!gate_open_) {
        held_.push_back(std::move(load));
        return;
      }
    }
    std::move(load)();
  }
  // What a load of `key` that works otherwise ends with.
  absl::Status LoadStatus(const BlockKey& key) const {
    absl::MutexLock lock(&mu_);
    if (failing_load_ > 0 && loads_ % failing_load_ == 0) return any_load_status_;
    const auto it = failing_loads_.find(key);
    return it == failing_loads_.end() ? absl::OkStatus() : it->second;
  }
  // Returns when a load that ends now should: at once, unless loads are slowed down.
  void DelayLoad() {
    absl::MutexLock lock(&mu_);
    const absl::Time end = absl::Now() + load_delay_;
    while (absl::Now() < end) changed_.WaitWithDeadline(&mu_, end);
  }
  absl::Status EnterWrite() {
    absl::MutexLock lock(&mu_);
    ++writes_;
    changed_.SignalAll();
    while (!write_gate_open_ && passing_writes_ == 0) changed_.Wait(&mu_);
    if (!write_gate_open_) --passing_writes_;
    if (!write_status_.ok()) ++failed_writes_;
    return write_status_;
  }

 private:
  mutable absl::Mutex mu_;
  absl::CondVar changed_;
  std::map<BlockKey, absl::Status> failing_loads_ ABSL_GUARDED_BY(mu_);
  int64_t failing_load_ ABSL_GUARDED_BY(mu_) = 0;  // one in so many; 0: none
  absl::Status any_load_status_ ABSL_GUARDED_BY(mu_);
  absl::Status write_status_ ABSL_GUARDED_BY(mu_);
  absl::Duration load_delay_ ABSL_GUARDED_BY(mu_);
  std::vector<absl::AnyInvocable<void() &&>> held_ ABSL_GUARDED_BY(mu_);  // loads at the gate
  std::vector<absl::AnyInvocable<void() &&>> held_ends_ ABSL_GUARDED_BY(mu_);
  uint64_t hold_behind_ ABSL_GUARDED_BY(mu_) = 0;
  bool gate_open_ ABSL_GUARDED_BY(mu_) = true;
  bool write_gate_open_ ABSL_GUARDED_BY(mu_) = true;
  int64_t passing_writes_ ABSL_GUARDED_BY(mu_) = 0;
  int64_t writes_ ABSL_GUARDED_BY(mu_) = 0;
  int64_t loads_ ABSL_GUARDED_BY(mu_) = 0;
  int64_t failed_writes_ ABSL_GUARDED_BY(mu_) = 0;
  int64_t saves_ ABSL_GUARDED_BY(mu_) = 0;
};

class FaultyTier : public BackingTier {
 public:
  FaultyTier(std::unique_ptr<BackingTier> tier, std::shared_ptr<FaultPlan> plan)
      : tier_(std::move(tier)), plan_(std::move(plan)) {}

  Hash128 secret() const override { return tier_->secret(); }
  absl::Status BindNamespace(const BlockKey& root, absl::string_view encoding) override {
    return tier_->BindNamespace(root, encoding);
  }
  absl::Status ForEachNamespace(
      absl::FunctionRef<void(const BlockKey&, absl::string_view)> visit) override {
    return tier_->ForEachNamespace(visit);
  }
  int64_t FreeSlots(uint64_t payload_bytes) const override {
    return tier_->FreeSlots(payload_bytes);
  }
  int64_t BudgetBytes(uint64_t payload_bytes) const override {
    return tier_->BudgetBytes(payload_bytes);
  }
  int64_t CapacitySlots(uint64_t payload_bytes) const override {
    return tier_->CapacitySlots(payload_bytes);
  }
  absl::Status Store(absl::Span<const BlockToStore> batch) override {
    const absl::Status status = plan_->EnterWrite();
    return status.ok() ? tier_->Store(batch) : status;
  }
  void StartLoads(std::vector<LoadRequest> batch) override {
    for (LoadRequest& request : batch) {
      plan_->EnterLoad([this, request = std::move(request)]() mutable {
        const absl::Status fault = plan_->LoadStatus(request.block.key);
        request.done = [this, fault,
                        done = std::move(request.done)](const absl::Status& status) mutable {
          plan_->DelayLoad();
          std::move(done)(fault.ok() ? status : fault);
        };
        if (request.progress) HoldBehind(request);
        std::vector<LoadRequest> one;
        one.push_back(std::move(request));
        tier_->StartLoads(std::move(one));
      });
    }
  }
  int load_depth(uint64_t payload_bytes) const override { return tier_->load_depth(payload_bytes); }
  absl::Status Erase(absl::Span<const BlockKey> keys) override {
    const absl::Status status = plan_->EnterWrite();
    return status.ok() ? tier_->Erase(keys) : status;
  }
  absl::StatusOr<std::vector<BlockKey>> KeysBeside(const BlockKey& key) override {
    return tier_->KeysBeside(key);
  }
  absl::Status ForEach(absl::FunctionRef<void(const StoredBlock&)> visit) override {
    return tier_->ForEach(visit);
  }
  absl::Status ForEachKey(absl::FunctionRef<void(const BlockKey&)> visit) override {
    return tier_->ForEachKey(visit);
  }
  absl::Status SaveState(absl::string_view name, absl::string_view bytes) override {
    absl::Status status = plan_->SaveStatus();
    if (status.ok()) status = tier_->SaveState(name, bytes);
    plan_->NoteSave();
    return status;
  }
  absl::StatusOr<std::string> LoadState(absl::string_view name) const override {
    return tier_->LoadState(name);
  }
  int64_t used_bytes() const override { return tier_->used_bytes(); }
  int64_t reserved_bytes() const override { return tier_->reserved_bytes(); }
  std::vector<std::string> losses() const override { return tier_->losses(); }
  int64_t capacity_bytes() const override { return tier_->capacity_bytes(); }
  int64_t num_blocks() const override { return tier_->num_blocks(); }

 private:
  void HoldBehind(LoadRequest& request) {
    const uint64_t first = plan_->hold_behind();
    if (first == 0) return;
    request.done = [this, first, payload = request.payload, progress = std::move(request.progress),
                    done = std::move(request.done)](const absl::Status& status) mutable {
      const absl::Span<std::byte> rest = payload.subspan(first);
      std::vector<std::byte> bytes(rest.begin(), rest.end());
      std::fill(rest.begin(), rest.end(), std::byte{0x7f});
      progress(first);
      plan_->HoldEnd([rest, bytes = std::move(bytes), status, done = std::move(done)]() mutable {
        std::copy(bytes.begin(), bytes.end(), rest.begin());
        std::move(done)(status);
      });
    };
    request.progress = nullptr;
  }

  const std::unique_ptr<BackingTier> tier_;
  const std::shared_ptr<FaultPlan> plan_;
};

}  // namespace reprise::cachestore
