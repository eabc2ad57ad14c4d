// Grants and anchors: what a client on the same host writes and sees.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "api/session/random_id.h"
#include "api/session/session.h"
#include "cachestore/base/check.h"

namespace reprise::api {

using cachestore::NamespaceHandle;
using Counts = LeaseStats::Values;

absl::StatusOr<std::vector<v1::GrantedSlot>> Session::Grant(const NamespaceHandle& ns,
                                                            int32_t num_blocks) {
  if (num_blocks <= 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("num_blocks is ", num_blocks, "; it must be above 0"));
  }
  if (!shared_) {
    return absl::FailedPreconditionError("the session was opened without shared_memory");
  }
  const int64_t slot_bytes = SlotBytes(ns);
  std::vector<v1::GrantedSlot> slots;
  absl::MutexLock lock(&mu_);
  if (ended_) return SessionEnded();
  const int64_t holdings = static_cast<int64_t>(leases_.size() + grants_.size());
  const int64_t wanted =
      std::min<int64_t>(num_blocks, parts_.limits->holdings_per_session - holdings);
  const int64_t room = TakeBytes(slot_bytes, wanted);
  const absl::Time expires = absl::Now() + max_ttl_;
  std::string cause;
  while (static_cast<int64_t>(slots.size()) < room) {
    absl::StatusOr<cachestore::WritableBlock> block = parts_.store->Allocate(ns);
    if (!block.ok()) {
      cause = absl::StrCat("; ", block.status().message());
      break;
    }
    v1::GrantedSlot& slot = slots.emplace_back();
    slot.set_grant_id(RandomId());
    slot.set_offset(block->bytes().data() - parts_.arena->bytes.data());
    grants_.emplace(slot.grant_id(), GrantedBlock{.namespace_id = ns.id,
                                                  .slot_bytes = slot_bytes,
                                                  .expires = expires,
                                                  .block = *std::move(block)});
  }
  const int64_t granted = static_cast<int64_t>(slots.size());
  GiveBytes((room - granted) * slot_bytes);
  if (granted == 0) {
    return absl::ResourceExhaustedError(
        absl::StrCat("no slot of ", slot_bytes, " bytes can be granted now: the session holds ",
                     held_bytes_, " bytes of ", parts_.limits->bytes_per_session, " in ", holdings,
                     " leases and grants", cause));
  }
  parts_.stats->Add(&Counts::grants, granted);
  parts_.keeper->WakeBy(expires);
  return slots;
}

absl::StatusOr<cachestore::WritableBlock> Session::TakeGrant(const NamespaceHandle& ns,
                                                             absl::string_view grant_id) {
  Freed freed;
  absl::MutexLock lock(&mu_);
  const auto grant = grants_.find(grant_id);
  if (grant == grants_.end() || grant->second.namespace_id != ns.id) {
    return absl::NotFoundError(
        "the session has no such grant of this namespace: it has ended, or never was");
  }
  cachestore::WritableBlock block = std::move(grant->second.block);
  Drop(grant, /*released=*/true, freed);
  return block;
}

absl::Status Session::AddAnchor() {
  absl::MutexLock lock(&mu_);
  if (ended_) return SessionEnded();
  ++anchors_;
  return absl::OkStatus();
}

void Session::RemoveAnchor() {
  std::vector<Anchored> freed;  // as Freed
  absl::MutexLock lock(&mu_);
  CHECK(anchors_ > 0);
  if (--anchors_ > 0) return;
  int64_t bytes = 0;
  for (const Anchored& anchored : anchored_) bytes += anchored.bytes;
  freed.swap(anchored_);
  GiveBytes(bytes);
}

}  // namespace reprise::api
