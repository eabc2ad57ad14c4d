// Acquire: what of a prompt a session holds.
#include <algorithm>
#include <atomic>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "api/session/random_id.h"
#include "api/session/session.h"
#include "cachestore/base/status_macros.h"

namespace reprise::api {

using cachestore::BlockContent;
using cachestore::BlockRange;
using cachestore::NamespaceHandle;
using Counts = LeaseStats::Values;

absl::StatusOr<Session::Plan> Session::PlanOf(const NamespaceHandle& ns, const BlockContent& prompt,
                                              const v1::AcquireRequest& request,
                                              v1::AcquireResponse& response) const {
  if (request.first_block() < 0 || request.max_blocks() < 0) {
    return absl::InvalidArgumentError(absl::StrCat("first_block is ", request.first_block(),
                                                   " and max_blocks ", request.max_blocks(),
                                                   "; they must not be negative"));
  }
  Plan plan;
  ASSIGN_OR_RETURN(plan.ttl, TtlOf(request.ttl_seconds()));
  const int64_t num_blocks = static_cast<int64_t>(prompt.words().size()) / ns.block_words;
  const int64_t first = std::min(request.first_block(), num_blocks);
  plan.range = {.first = first, .count = num_blocks - first};
  if (request.max_blocks() > 0) plan.range.count = std::min(plan.range.count, request.max_blocks());
  plan.asked_blocks = first + plan.range.count;

  const cachestore::PrefixMatch match = parts_.store->Match(ns, prompt, num_blocks);
  response.mutable_match()->set_gpu_blocks(match.gpu_blocks);
  response.mutable_match()->set_ram_blocks(match.ram_blocks);
  response.mutable_match()->set_disk_blocks(match.disk_blocks);
  response.mutable_match()->set_matched_tokens(match.total_blocks() * ns.layout.block_tokens);

  const absl::Time now = absl::Now();
  const cachestore::LoadForecast forecast =
      parts_.store->ForecastLoad(ns, prompt, first + plan.range.count);
  plan.cached_blocks =
      std::max<int64_t>(static_cast<int64_t>(forecast.needs_load.size()) - first, 0);
  if (request.has_prefill()) {
    ASSIGN_OR_RETURN(const Advice advice,
                     Advise(forecast, first, ns.layout.block_tokens, request.prefill()));
    response.set_advice(advice.advice);
    response.set_advised_blocks(advice.num_blocks == 0 ? 0 : first + advice.num_blocks);
    plan.advised_blocks = advice.num_blocks;
    plan.recompute_block = advice.per_block;
    if (request.follow_advice()) {
      // All that is cached: the misses behind it are looked up too, and counted.
      if (advice.num_blocks < plan.cached_blocks) plan.range.count = advice.num_blocks;
      plan.cached_blocks = advice.num_blocks;
      if (request.prefill().deadline_seconds() > 0) {
        plan.load_deadline = now + absl::Seconds(request.prefill().deadline_seconds());
      }
    }
  } else if (request.follow_advice()) {
    return absl::InvalidArgumentError("follow_advice needs prefill, which the advice goes by");
  }
  *response.mutable_load_time() = PredictLoad(forecast, first, plan.cached_blocks);
  plan.promised = PromiseOf(forecast, response.load_time(), now);
  return plan;
}

cachestore::PinTicket Session::Pin(const NamespaceHandle& ns, const BlockContent& prompt,
                                   BlockRange range, absl::Time deadline,
                                   const std::string& lease_id,
                                   const cachestore::RequestHints& hints) {
  // What is done when Pin returns is settled by the caller, who sees that it is: no Acquire of
  // blocks in RAM wakes the keeper.
  auto other_was_first = std::make_shared<std::atomic<bool>>(false);
  auto on_done = [other_was_first, keeper = parts_.keeper, weak = weak_from_this(), lease_id] {
    if (!other_was_first->exchange(true)) return;
    keeper->Post([weak, lease_id] {
      if (const std::shared_ptr<Session> session = weak.lock()) session->Settle(lease_id);
    });
  };
  cachestore::PinTicket ticket =
      parts_.store->Pin(ns, prompt, range, std::move(on_done), deadline,
                        cachestore::LoadOrder::kByBlock, cachestore::Tier::kRam, hints);
  other_was_first->store(true);
  return ticket;
}

absl::StatusOr<std::string> Session::Hold(const NamespaceHandle& ns, const BlockContent& prompt,
                                          const Plan& plan, const cachestore::RequestHints& asked) {
  const int64_t holdings = static_cast<int64_t>(leases_.size() + grants_.size());
  if (holdings >= parts_.limits->holdings_per_session) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "the session has ", holdings, " leases and grants, as many as it may; release some"));
  }
  const int64_t slot_bytes = SlotBytes(ns);
  const int64_t room = TakeBytes(slot_bytes, plan.cached_blocks);
  if (room == 0) return NoRoom(slot_bytes);
  std::string id = RandomId();
  Lease lease = {.ns = ns, .first_block = plan.range.first, .slot_bytes = slot_bytes};
  const BlockRange fits = {.first = plan.range.first, .count = room};
  const BlockRange all = room < plan.cached_blocks ? fits : plan.range;
  // What is held may be less than what is asked for: the request is told of as a whole, and once.
  cachestore::RequestHints hints = asked;
  if (all.first + all.count < plan.asked_blocks) {
    parts_.store->Touch(ns, prompt, plan.asked_blocks, hints);
    hints.use = cachestore::RequestHints::Use::kPart;
  }
  lease.ticket = Pin(ns, prompt, all, plan.load_deadline, id, hints);
  // More has come meanwhile than there is room for.
  if (lease.ticket.matched_blocks() > room) {
    hints.use = cachestore::RequestHints::Use::kPart;
    lease.ticket = Pin(ns, prompt, fits, plan.load_deadline, id, hints);
  }
  lease.num_blocks = lease.ticket.matched_blocks();
  GiveBytes((room - lease.num_blocks) * slot_bytes);
  if (lease.num_blocks == 0) return std::string();
  lease.expires = absl::Now() + plan.ttl;
  lease.promised = plan.promised;
  const bool follows_advice = lease.num_blocks <= plan.advised_blocks;
  if (follows_advice) lease.promised.recompute = plan.recompute_block * lease.num_blocks;
  if (lease.ticket.done()) {
    TakeBlocks(lease);
    if (lease.num_blocks == 0) return std::string();
  }
  if (!follows_advice) parts_.stats->Add(&Counts::ignored_advice, 1);
  parts_.keeper->WakeBy(lease.expires);
  parts_.stats->Add(&Counts::acquired_leases, 1);
  parts_.stats->Add(&Counts::leases, 1);
  leases_.emplace(id, std::move(lease));
  return id;
}

absl::StatusOr<v1::AcquireResponse> Session::Acquire(const NamespaceHandle& ns,
                                                     const BlockContent& prompt,
                                                     const v1::AcquireRequest& request,
                                                     const cachestore::RequestHints& hints,
                                                     bool only_reads) {
  v1::AcquireResponse response;
  ASSIGN_OR_RETURN(const Plan plan, PlanOf(ns, prompt, request, response));
  if (response.advice() == v1::LOAD_ADVICE_LOAD) {
    parts_.stats->Add(&Counts::advised_loads, 1);
  } else if (response.advice() == v1::LOAD_ADVICE_LOAD_SOME) {
    parts_.stats->Add(&Counts::advised_part_loads, 1);
  } else if (response.advice() == v1::LOAD_ADVICE_RECOMPUTE) {
    parts_.stats->Add(&Counts::advised_recomputes, 1);
  }
  absl::MutexLock lock(&mu_);
  if (ended_) return SessionEnded();
  if (plan.cached_blocks == 0) {
    parts_.store->Touch(ns, prompt, plan.asked_blocks, hints);
    return response;
  }
  ASSIGN_OR_RETURN(const std::string id, Hold(ns, prompt, plan, hints));
  if (id.empty()) return response;
  Lease& lease = leases_.at(id);
  lease.only_reads = only_reads;
  *response.mutable_lease() = StateOf(id, lease, /*with_places=*/true);
  return response;
}

void Session::TakeBlocks(Lease& lease) {
  cachestore::PinnedPrefix taken = lease.ticket.Take();
  const int64_t num_blocks = static_cast<int64_t>(taken.blocks.size());
  if (num_blocks == lease.num_blocks && taken.disk_blocks > 0) {
    CountLoad(lease.promised, absl::Now(), *parts_.stats);
  }
  GiveBytes((lease.num_blocks - num_blocks) * lease.slot_bytes);
  lease.num_blocks = num_blocks;
  std::vector<LeasedBlock>& blocks = lease.blocks.emplace();
  blocks.reserve(taken.blocks.size());
  for (size_t i = 0; i < taken.blocks.size(); ++i) {
    blocks.push_back({std::make_shared<const cachestore::BlockRef>(std::move(taken.blocks[i])),
                      taken.from_gpu[i], taken.from_disk[i]});
  }
}

}  // namespace reprise::api
