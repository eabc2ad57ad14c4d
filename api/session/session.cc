#include "api/session/session.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "api/session/random_id.h"
#include "api/session/reader_hints.h"
#include "cachestore/base/status_macros.h"
#include "cachestore/pool/slot_pool.h"

namespace reprise::api {

using cachestore::BlockRange;
using Counts = LeaseStats::Values;

absl::Status SessionEnded() {
  return absl::NotFoundError("the session has ended; open another with OpenSession");
}

int64_t SlotBytes(const cachestore::NamespaceHandle& ns) {
  return static_cast<int64_t>(cachestore::SlotPool::SlotBytes(ns.layout.BytesPerBlock()));
}

absl::StatusOr<absl::Duration> TtlFrom(absl::string_view field, double seconds,
                                       absl::Duration usual, absl::Duration most) {
  if (!std::isfinite(seconds) || seconds < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(field, " is ", seconds, "; it must not be negative"));
  }
  return seconds == 0 ? usual : std::min(absl::Seconds(seconds), most);
}

Session::Session(const Parts& parts, std::string id, SessionOwner owner, bool shared,
                 std::shared_ptr<SessionSink> sink)
    : parts_(parts),
      id_(std::move(id)),
      owner_(std::move(owner)),
      shared_(shared),
      max_ttl_(parts.limits->usual_ttl),
      sink_(std::move(sink)) {}

absl::StatusOr<absl::Duration> Session::TtlOf(double seconds) const {
  return TtlFrom("ttl_seconds", seconds, max_ttl_, max_ttl_);
}

int64_t Session::TakeBytes(int64_t slot_bytes, int64_t wanted) {
  const int64_t room = (parts_.limits->bytes_per_session - held_bytes_) / slot_bytes;
  const int64_t of_tenant = parts_.tenant_bytes->Take(slot_bytes, std::min(wanted, room));
  const int64_t taken = parts_.all_bytes->Take(slot_bytes, of_tenant);
  parts_.tenant_bytes->Give((of_tenant - taken) * slot_bytes);
  held_bytes_ += taken * slot_bytes;
  return taken;
}

void Session::GiveBytes(int64_t bytes) {
  held_bytes_ -= bytes;
  parts_.tenant_bytes->Give(bytes);
  parts_.all_bytes->Give(bytes);
}

absl::Status Session::NoRoom(int64_t slot_bytes) const {
  // What others hold is not told.
  return absl::ResourceExhaustedError(absl::StrCat(
      "no room to hold a block of ", slot_bytes, " bytes: the session holds ", held_bytes_, " of ",
      parts_.limits->bytes_per_session, ", its tenant ", parts_.tenant_bytes->used(), " of ",
      parts_.tenant_bytes->limit(), ", or all sessions as much as they may; release leases"));
}

v1::LeaseState Session::StateOf(const std::string& id, const Lease& lease, bool with_places) const {
  v1::LeaseState state;
  state.set_lease_id(id);
  state.set_phase(lease.blocks.has_value() ? v1::LEASE_PHASE_READY : v1::LEASE_PHASE_LOADING);
  state.set_first_block(lease.first_block);
  state.set_num_blocks(lease.num_blocks);
  state.set_expires_in_seconds(std::max(0.0, absl::ToDoubleSeconds(lease.expires - absl::Now())));
  if (with_places && shared_ && lease.blocks.has_value()) {
    for (const LeasedBlock& block : *lease.blocks) {
      const std::optional<uint64_t> payload_hash = block.pin->payload_hash();
      v1::SlotPlace& place = *state.add_places();
      place.set_offset(block.pin->bytes().data() - parts_.arena->bytes.data());
      place.set_payload_xxh3(payload_hash.value_or(0));
      place.set_has_payload_xxh3(payload_hash.has_value());
    }
  }
  return state;
}

void Session::Drop(Leases::iterator lease, bool released, Freed& freed) {
  const int64_t bytes = lease->second.num_blocks * lease->second.slot_bytes;
  Wake(lease->second);
  // What is loading was never shown.
  if (anchors_ > 0 && !released && lease->second.blocks.has_value()) {
    anchored_.push_back({.blocks = *std::move(lease->second.blocks), .slot = {}, .bytes = bytes});
  } else {
    GiveBytes(bytes);
  }
  freed.leases.push_back(std::move(lease->second));
  leases_.erase(lease);
  parts_.stats->Add(&Counts::leases, -1);
}

void Session::Drop(Grants::iterator grant, bool released, Freed& freed) {
  if (anchors_ > 0 && !released) {
    anchored_.push_back(
        {.blocks = {}, .slot = std::move(grant->second.block), .bytes = grant->second.slot_bytes});
  } else {
    GiveBytes(grant->second.slot_bytes);
  }
  freed.grants.push_back(std::move(grant->second));
  grants_.erase(grant);
  parts_.stats->Add(&Counts::grants, -1);
}

absl::StatusOr<std::vector<v1::LeaseState>> Session::Renew(
    const std::vector<absl::string_view>& ids, double ttl_seconds) {
  ASSIGN_OR_RETURN(const absl::Duration ttl, TtlOf(ttl_seconds));
  const absl::Time expires = absl::Now() + ttl;
  std::vector<v1::LeaseState> states;
  absl::MutexLock lock(&mu_);
  if (ended_) return SessionEnded();
  parts_.keeper->WakeBy(expires);
  for (const absl::string_view id : ids) {
    if (const auto grant = grants_.find(id); grant != grants_.end()) {
      grant->second.expires = expires;
      v1::LeaseState& state = states.emplace_back();
      state.set_lease_id(grant->first);
      state.set_phase(v1::LEASE_PHASE_READY);
      state.set_num_blocks(1);
      state.set_expires_in_seconds(absl::ToDoubleSeconds(ttl));
      continue;
    }
    const auto lease = leases_.find(id);
    if (lease == leases_.end()) {
      states.emplace_back().set_lease_id(std::string(id.substr(0, kIdBytes)));
      states.back().set_phase(v1::LEASE_PHASE_ENDED);
      continue;
    }
    lease->second.expires = expires;
    states.push_back(StateOf(lease->first, lease->second, /*with_places=*/false));
  }
  if (!ids.empty()) return states;
  for (auto& [id, grant] : grants_) grant.expires = expires;
  for (auto& [id, lease] : leases_) {
    lease.expires = expires;
    states.push_back(StateOf(id, lease, /*with_places=*/false));
  }
  return states;
}

void Session::TellEnd(const Lease& lease, const cachestore::RequestEnd& end) const {
  if (!lease.blocks.has_value()) return;
  std::vector<cachestore::BlockKey> keys;
  keys.reserve(lease.blocks->size());
  for (const LeasedBlock& block : *lease.blocks) keys.push_back(block.pin->key());
  cachestore::RequestEnd told = end;
  if (lease.only_reads) told.hints = HintsOfReader(end.hints);
  parts_.store->EndRequest(lease.ns, keys, told, lease.first_block);
}

int64_t Session::Release(const std::vector<absl::string_view>& ids,
                         const cachestore::RequestEnd* end) {
  Freed freed;
  {
    absl::MutexLock lock(&mu_);
    for (const absl::string_view id : ids) {
      if (const auto lease = leases_.find(id); lease != leases_.end()) {
        Drop(lease, /*released=*/true, freed);
      } else if (const auto grant = grants_.find(id); grant != grants_.end()) {
        Drop(grant, /*released=*/true, freed);
      }
    }
  }
  const auto leases = static_cast<int64_t>(freed.leases.size());
  parts_.stats->Add(&Counts::released_leases, leases);
  // The pins are not let go of yet: no block can go before the store has heard of its request.
  if (end != nullptr) {
    for (const Lease& lease : freed.leases) TellEnd(lease, *end);
  }
  return leases + static_cast<int64_t>(freed.grants.size());
}

absl::StatusOr<LeasedBlocks> Session::BlocksOf(absl::string_view lease_id, BlockRange range) const {
  absl::MutexLock lock(&mu_);
  const auto lease = leases_.find(lease_id);
  if (lease == leases_.end()) {
    return absl::NotFoundError("the session has no such lease: it has ended, or never was");
  }
  if (!lease->second.blocks.has_value()) {
    return absl::UnavailableError("the lease's blocks are still being loaded");
  }
  return SomeOf(lease->second, range);
}

LeasedBlocks Session::SomeOf(const Lease& lease, BlockRange range) {
  const std::vector<LeasedBlock>& all = *lease.blocks;
  const int64_t end = lease.first_block + lease.num_blocks;
  const int64_t from = std::clamp(range.first, lease.first_block, end);
  const int64_t to = from + std::min(range.count, end - from);
  return {
      .first_block = from,
      .end_block = end,
      .block_bytes = all.empty() ? 0 : static_cast<int64_t>(all[0].pin->bytes().size()),
      .blocks = {all.begin() + (from - lease.first_block), all.begin() + (to - lease.first_block)}};
}

void Session::WhenSettled(absl::string_view lease_id, const void* waiter,
                          std::function<void()> then) {
  absl::MutexLock lock(&mu_);
  const auto lease = leases_.find(lease_id);
  if (lease != leases_.end() && !lease->second.blocks.has_value()) {
    lease->second.waiting[waiter] = std::move(then);
  } else {
    parts_.keeper->Post(std::move(then));
  }
}

void Session::StopWaiting(absl::string_view lease_id, const void* waiter) {
  absl::MutexLock lock(&mu_);
  const auto lease = leases_.find(lease_id);
  if (lease != leases_.end()) lease->second.waiting.erase(waiter);
}

void Session::Wake(Lease& lease) {
  for (auto& [waiter, then] : lease.waiting) parts_.keeper->Post(std::move(then));
  lease.waiting.clear();
}

void Session::Settle(const std::string& lease_id) {
  v1::LeaseState state;
  {
    Freed freed;  // gone when its end is told
    absl::MutexLock lock(&mu_);
    const auto lease = leases_.find(lease_id);
    // Acquire takes what is there at once; a ticket that made way for another is told of as well.
    if (lease == leases_.end() || lease->second.blocks.has_value() ||
        !lease->second.ticket.done()) {
      return;
    }
    TakeBlocks(lease->second);
    Wake(lease->second);
    state = StateOf(lease_id, lease->second, /*with_places=*/true);
    if (lease->second.num_blocks == 0) {
      state.set_phase(v1::LEASE_PHASE_ENDED);
      Drop(lease, /*released=*/false, freed);
      parts_.stats->Add(&Counts::failed_leases, 1);
    }
  }
  sink_->OnLease(state);
}

absl::Time Session::Expire(absl::Time now) {
  std::vector<v1::LeaseState> ended;
  absl::Time next = absl::InfiniteFuture();
  {
    Freed freed;  // gone when its end is told
    absl::MutexLock lock(&mu_);
    for (auto it = leases_.begin(); it != leases_.end();) {
      const auto lease = it++;
      if (lease->second.expires > now) {
        next = std::min(next, lease->second.expires);
        continue;
      }
      ended.push_back(StateOf(lease->first, lease->second, /*with_places=*/false));
      ended.back().set_phase(v1::LEASE_PHASE_ENDED);
      Drop(lease, /*released=*/false, freed);
    }
    for (auto it = grants_.begin(); it != grants_.end();) {
      const auto grant = it++;
      if (grant->second.expires > now) {
        next = std::min(next, grant->second.expires);
      } else {
        Drop(grant, /*released=*/false, freed);
      }
    }
  }
  parts_.stats->Add(&Counts::expired_leases, static_cast<int64_t>(ended.size()));
  for (const v1::LeaseState& state : ended) sink_->OnLease(state);
  return next;
}

void Session::EndLocked(Freed& freed) {
  ended_ = true;
  parts_.stats->Add(&Counts::orphaned_leases, static_cast<int64_t>(leases_.size()));
  while (!leases_.empty()) Drop(leases_.begin(), /*released=*/false, freed);
  while (!grants_.empty()) Drop(grants_.begin(), /*released=*/false, freed);
}

void Session::End() {
  Freed freed;
  absl::MutexLock lock(&mu_);
  EndLocked(freed);
}

void Session::End(const absl::Status& status) {
  End();
  sink_->OnEnd(status);
}

bool Session::gone() const {
  absl::MutexLock lock(&mu_);
  return ended_ && anchors_ == 0;
}

void Session::Describe(SessionOrigin origin) {
  absl::MutexLock lock(&mu_);
  origin_ = std::move(origin);
}

std::optional<v1::SessionInfo> Session::Info() const {
  absl::MutexLock lock(&mu_);
  if (ended_) return std::nullopt;
  v1::SessionInfo info;
  info.set_public_id(public_id_);
  info.set_client_name(origin_.client_name);
  info.set_peer(origin_.peer);
  info.set_tenant(owner_.tenant);
  info.set_age_seconds(absl::ToDoubleSeconds(absl::Now() - opened_));
  info.set_leases(static_cast<int64_t>(leases_.size()));
  info.set_leased_bytes(held_bytes_);
  info.set_grants(static_cast<int64_t>(grants_.size()));
  info.set_shared_memory(shared_);
  return info;
}

}  // namespace reprise::api
