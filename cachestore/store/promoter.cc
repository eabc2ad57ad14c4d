#include "cachestore/store/promoter.h"

#include <algorithm>
#include <optional>

#include "absl/time/clock.h"
#include "cachestore/base/check.h"

namespace reprise::cachestore {
namespace {

// What a ticket starts in one turn: one block, or a piece of small ones.
constexpr uint64_t kPieceBytes = uint64_t{1} << 20;

// Tickets of one list that are asked in vain in a round.
constexpr size_t kVainTurns = 64;

}  // namespace

Promoter::Promoter(StoreCore& core, BlockRegistry& registry, DeviceTransfers* transfers,
                   int max_loading_tickets)
    : core_(core),
      registry_(registry),
      transfers_(transfers),
      max_loading_tickets_(max_loading_tickets) {
  if (core.tier != nullptr || core.device != nullptr) thread_ = std::thread([this] { Run(); });
}

Promoter::~Promoter() {
  {
    absl::MutexLock lock(&core_.mu);
    CHECK(tickets_.empty());
    closing_ = true;
    core_.load_cv.SignalAll();
    while (!loads_.empty() || ending_ > 0) idle_cv_.Wait(&core_.mu);
  }
  if (thread_.joinable()) thread_.join();
}

PinTicket Promoter::Pin(const PinRequest& request, std::function<void()> on_done) {
  const auto pending = std::make_shared<Pending>();
  pending->deadline = request.deadline;
  pending->tier = request.tier;
  Work work;
  std::optional<PinTicket> ticket;
  {
    absl::MutexLock lock(&core_.mu);
    const std::vector<BlockId> chain = MatchLocked(request);
    const size_t first = pending->first = std::min(request.first_block, chain.size());
    for (size_t i = first; i < chain.size(); ++i) {
      pending->entries.push_back({.id = chain[i]});
      core_.state.index.SetReused(chain[i]);
    }
    const size_t num_entries = pending->end = pending->entries.size();
    pending->block_tokens = request.block_tokens;
    pending->state = std::make_shared<PinState>(
        *this, core_.device, static_cast<int64_t>(num_entries), std::move(on_done));
    ticket.emplace(pending->state);
    const bool queue_is_full = static_cast<int64_t>(tickets_.size()) >= max_loading_tickets_;
    tickets_.emplace(pending->state.get(), pending);
    if (num_entries > 0) {
      pending->payload_bytes = core_.state.payload_bytes(chain.back());
      pending->line = {pending->payload_bytes, core_.state.namespace_of(chain.back()).share};
      lines_.try_emplace(pending->line);
      last_slots_.try_emplace(pending->payload_bytes);
      PinEntryLocked(pending->entries.back());
    }
    PinResidentLocked(*pending);
    // All of the chain: a block is of no use without those before it. Now, because what is pinned
    // is in no set, and moves at no cost.
    core_.NoteRequest({.namespace_id = request.namespace_id,
                       .block_tokens = request.block_tokens,
                       .prompt_tokens = request.prompt_tokens,
                       .keys = request.keys,
                       .matched = chain,
                       .hints = request.hints});
    if (pending->next < pending->end && queue_is_full) {
      EndAtLocked(*pending, pending->next, Outcome::kQueueFull);
    }
    FinishIfDoneLocked(pending, work);
    if (!pending->finished) {
      core_.loading_tickets = static_cast<int64_t>(tickets_.size());
      if (request.order == LoadOrder::kByLayer && MayLoadByLayerLocked()) {
        LoadByLayerLocked(pending, request.layer_bytes, work);
      }
      turns_.push_back(pending);
      PumpLocked(work);
      if (!pending->finished) TellAddressesLocked(*pending);
      if (request.deadline != absl::InfiniteFuture()) core_.load_cv.Signal();
    }
    core_.NoteChange();
  }
  Do(std::move(work));
  return *std::move(ticket);
}

LoadForecast Promoter::Forecast(const PinRequest& request) const {
  const absl::Time now = absl::Now();
  LoadForecast forecast;
  MatchEnd end;
  uint64_t block_bytes = 0;
  uint64_t bytes = 0;
  absl::ReaderMutexLock lock(&core_.mu);
  const std::vector<BlockId> ids = FindLocked(request, end);
  for (const BlockId id : ids) {
    block_bytes = core_.state.payload_bytes(id);
    const PrefixIndex::Node& node = core_.state.index.node(id);
    forecast.needs_load.push_back(!node.in_memory());
    if (request.tier == Tier::kGpu) forecast.needs_copy.push_back(!node.in_gpu);
    bytes += forecast.needs_load.back() ? block_bytes : 0;
  }
  core_.load_rates.Predict(block_bytes, BytesAheadLocked(ids, bytes), now, forecast);
  core_.to_device_rates.Predict(block_bytes, 0, now, forecast.copy);
  return forecast;
}

uint64_t Promoter::BytesAheadLocked(absl::Span<const BlockId> chain, uint64_t bytes) const {
  // By the block that comes next: tickets that come to the same one share their loads.
  absl::flat_hash_map<BlockId, uint64_t> queues;
  for (const auto& [state, pending] : tickets_) {
    if (pending->next >= pending->end) continue;
    const BlockId next = pending->entries[pending->next].id;
    const size_t place = pending->first + pending->next;
    if (place < chain.size() && chain[place] == next) continue;
    uint64_t& queue = queues[next];
    queue = std::max(queue, (pending->end - pending->next) * pending->payload_bytes);
  }
  uint64_t ahead = 0;
  for (const auto& [next, queue] : queues) ahead += std::min(queue, bytes);
  return ahead;
}

std::vector<BlockId> Promoter::FindLocked(const PinRequest& request, MatchEnd& end) const {
  const PrefixIndex& index = core_.state.index;
  std::vector<BlockId> ids(request.keys.size());
  ids.resize(index.Match(index.root_node(request.namespace_id), request.keys, request.words,
                         absl::MakeSpan(ids), end));
  return ids;
}

std::vector<BlockId> Promoter::MatchLocked(const PinRequest& request) {
  StoreState& state = core_.state;
  MatchEnd end;
  std::vector<BlockId> ids = FindLocked(request, end);
  const int64_t looked_up = static_cast<int64_t>(request.keys.size() - request.first_block);
  const int64_t matched =
      static_cast<int64_t>(ids.size() - std::min(ids.size(), request.first_block));
  const int64_t missed = looked_up - matched;
  const int64_t collisions = end == MatchEnd::kCollision && missed > 0 ? 1 : 0;
  state.counters.looked_up_tokens += looked_up * request.block_tokens;
  state.counters.missed_collision_tokens += collisions * request.block_tokens;
  state.counters.missed_absent_tokens += (missed - collisions) * request.block_tokens;
  return ids;
}

void Promoter::PumpLocked(Work& work) {
  NoRoom no_room;
  for (Line* const line : StarvingLinesLocked()) {
    size_t vain = 0;
    for (auto it = line->starving.begin(); it != line->starving.end() && vain < kVainTurns;) {
      const std::shared_ptr<Pending> pending = *it;
      while (!pending->finished && StepLocked(pending, no_room, work)) {
      }
      const bool goes_on = !pending->finished && pending->next < pending->end;
      if (goes_on && pending->is_starving()) {
        ++it;
        ++vain;
        continue;
      }
      it = line->starving.erase(it);
      if (goes_on) turns_.push_back(pending);
    }
  }
  for (size_t vain = 0; vain < std::min(turns_.size(), kVainTurns);) {
    const std::shared_ptr<Pending> pending = turns_.front();
    turns_.pop_front();
    if (pending->finished) continue;
    const bool progress = StepLocked(pending, no_room, work);
    const bool goes_on = !pending->finished && pending->next < pending->end;
    if (goes_on && !pending->is_starving()) {
      turns_.push_back(pending);
      vain = progress ? 0 : vain + 1;
    } else {
      // One turn less: those behind it have not been asked yet.
      if (goes_on) lines_.at(pending->line).starving.push_back(pending);
      vain = 0;
    }
  }
  core_.starving_tickets = 0;
  for (const auto& [key, line] : lines_) {
    core_.starving_tickets += static_cast<int64_t>(line.starving.size());
  }
}

std::vector<Promoter::Line*> Promoter::StarvingLinesLocked() {
  std::vector<Line*> lines;
  for (auto& [key, line] : lines_) {
    if (!line.starving.empty()) lines.push_back(&line);
  }
  std::stable_sort(lines.begin(), lines.end(), [](const Line* a, const Line* b) {
    return a->starving.front()->starving_since < b->starving.front()->starving_since;
  });
  return lines;
}

bool Promoter::StepLocked(const std::shared_ptr<Pending>& pending, NoRoom& no_room, Work& work) {
  bool progress = PinResidentLocked(*pending);
  for (uint64_t started = 0; pending->next < pending->end && started < kPieceBytes;
       started += pending->payload_bytes) {
    if (!LoadNextLocked(pending, no_room, work)) break;
    progress = true;
    PinResidentLocked(*pending);
  }
  FinishIfDoneLocked(pending, work);
  return progress;
}

bool Promoter::PinResidentLocked(Pending& pending) {
  const size_t first = pending.next;
  for (; pending.next < pending.end; ++pending.next) {
    Entry& entry = pending.entries[pending.next];
    const PrefixIndex::Node& node = core_.state.index.node(entry.id);
    if (!node.in_store()) {
      EndAtLocked(pending, pending.next, Outcome::kLost);
      return true;
    }
    if (pending.tier == Tier::kGpu) {
      if (!node.in_gpu) break;
      PinEntryOnGpuLocked(entry);
      entry.source = Source::kGpu;
    } else {
      if (!node.in_ram()) break;
      PinEntryLocked(entry);
    }
    entry.outcome = Outcome::kReady;
    NoteArrivedLocked(pending, pending.next, pending.payload_bytes);
  }
  if (pending.next == first) return false;
  pending.starving_since = absl::InfiniteFuture();
  return true;
}

bool Promoter::LoadNextLocked(const std::shared_ptr<Pending>& pending, NoRoom& no_room,
                              Work& work) {
  const size_t next = pending->next;
  Entry& entry = pending->entries[next];
  const auto running = loads_.find(entry.id);
  if (running == loads_.end()) {
    if (!StartLoadLocked(pending, no_room, work)) return false;
  } else if (running->second.to != pending->tier) {
    return false;
  }
  pending->starving_since = absl::InfiniteFuture();
  Load& load = loads_.at(entry.id);
  load.waiters.push_back({pending, next});
  NoteArrivedLocked(*pending, next, load.arrived_bytes);
  PinEntryLocked(entry);
  entry.source = load.from;
  entry.outcome = Outcome::kLoading;
  ++pending->loads_left;
  ++pending->next;
  return true;
}

bool Promoter::StartLoadLocked(const std::shared_ptr<Pending>& pending, NoRoom& no_room,
                               Work& work) {
  const BlockId id = pending->entries[pending->next].id;
  const PrefixIndex::Node& node = core_.state.index.node(id);
  const LineKey line_key = pending->line;
  Load load = {.to = pending->tier,
               .line = pending->line,
               .by_layer = pending->is_by_layer(),
               .waiters = {},
               .convoy = pending->convoy,
               .place = pending->next,
               .read_end = {}};
  if (node.in_memory()) load.from = node.in_ram() ? Source::kRam : Source::kGpu;
  // The GPU's demoter brings it already.
  if (load.from == Source::kGpu && core_.gpu.IsFetching(id)) return false;
  if (load.from == Source::kDisk && !load.by_layer && TierShareLocked() >= 1) return false;
  const bool needs_gpu_slot = load.to == Tier::kGpu;
  const bool needs_ram_slot = load.from != Source::kRam;
  // No slot of `tier`: when it does not wait, nobody will wake the next one of its size, which must
  // ask itself.
  const auto starve = [&](Tier tier) ABSL_EXCLUSIVE_LOCKS_REQUIRED(core_.mu) {
    if (StarveLocked(pending, tier)) no_room.push_back({tier, line_key, pending->lacks_quota});
    return false;
  };
  for (const Lack& lack : no_room) {
    const bool is_its = lack.of_quota ? lack.line == line_key : lack.line.first == line_key.first;
    if (!is_its || !(lack.tier == Tier::kGpu ? needs_gpu_slot : needs_ram_slot)) continue;
    pending->Starve(lack.tier, lack.of_quota, absl::Now());
    return false;
  }
  if (load.to == Tier::kGpu) {
    // First, so that what has come to RAM never waits there for a slot.
    const std::optional<SlotIndex> slot = core_.gpu.BeginLoad(id);
    if (!slot.has_value()) return starve(Tier::kGpu);
    load.gpu_slot = *slot;
  }
  if (load.convoy != nullptr) load.convoy->blocks[load.place] = id;
  if (load.from == Source::kRam) {
    if (load.convoy == nullptr) StartToGpuLocked(id, load, work);
    loads_[id] = std::move(load);
  } else {
    const SlotIndex gpu_slot = load.gpu_slot;
    const bool started = load.from == Source::kGpu ? StartFromGpuLocked(id, std::move(load), work)
                                                   : StartFromDiskLocked(id, std::move(load), work);
    if (!started) {
      if (pending->convoy != nullptr) pending->convoy->blocks[pending->next] = kNoBlock;
      if (gpu_slot != kNoSlot) core_.gpu.AbortLoad(gpu_slot);
      return starve(Tier::kRam);
    }
  }
  for (LastSlots* const last : {&lines_.at(line_key).last_slots, &last_slots_[line_key.first]}) {
    if (needs_gpu_slot) last->on_gpu = absl::Now();
    if (needs_ram_slot) last->in_ram = absl::Now();
  }
  return true;
}

bool Promoter::StartFromDiskLocked(BlockId id, Load load, Work& work) {
  const uint64_t bytes = core_.state.payload_bytes(id);
  const std::optional<SlotIndex> slot = core_.disk.BeginLoad(id);
  if (!slot.has_value()) return false;
  lines_.at(load.line).in_flight += load.by_layer ? 0 : 1;
  load.began = absl::Now();
  core_.load_rates.Begin(bytes, load.began);
  LoadRequest request{.block = core_.Describe(id),
                      .payload = core_.state.pool.SlotMemory(*slot).first(bytes),
                      .done = {}};
  request.done = [this, id](const absl::Status& status) { FinishLoad(id, status); };
  if (load.by_layer) request.progress = [this, id](uint64_t arrived) { NoteProgress(id, arrived); };
  work.loads.push_back(std::move(request));
  load.slot = *slot;
  loads_[id] = std::move(load);
  return true;
}

double Promoter::TierShareLocked() const {
  double share = 0;
  for (const auto& [key, line] : lines_) {
    share += static_cast<double>(line.in_flight) / core_.tier->load_depth(key.first);
  }
  return share;
}

void Promoter::PinEntryLocked(Entry& entry) {
  if (std::exchange(entry.pinned, true)) return;
  core_.ram.Pin(entry.id);
}

void Promoter::FinishLoad(BlockId id, const absl::Status& status) {
  const absl::Time ended = absl::Now();
  Work work;
  {
    absl::MutexLock lock(&core_.mu);
    const uint64_t bytes = core_.state.payload_bytes(id);
    ++ending_;
    Load& load = loads_.at(id);
    if (!load.by_layer) --lines_.at(load.line).in_flight;
    if (status.ok()) core_.state.counters.load_from_disk.Add(ended - load.began);
    if (load.copies > 0) {
      load.read_end = status;
    } else {
      EndReadLocked(id, status, work);
    }
    PumpLocked(work);
    // After the loads that follow have begun: there is no pause between them.
    core_.load_rates.End(bytes, status.ok(), ended);
    core_.NoteChange();
  }
  GoOn(std::move(work));
}

void Promoter::EndReadLocked(BlockId id, const absl::Status& status, Work& work) {
  Load& load = loads_.at(id);
  Outcome outcome = EndLoadLocked(id, load.slot, status);
  const PrefixIndex::Node& node = core_.state.index.node(id);
  // Sealed there meanwhile.
  const bool is_on_gpu = load.to == Tier::kGpu && node.in_gpu && node.in_store();
  if (is_on_gpu) outcome = Outcome::kReady;
  if (load.to == Tier::kGpu && outcome == Outcome::kReady && !is_on_gpu) {
    // In another slot than that of the parts that were sent: sealed in RAM meanwhile, maybe as
    // other bytes. A step that mixes the two must not count.
    if (load.convoy != nullptr && node.ram_slot != load.slot) {
      TakeBackLocked(*load.convoy, work);
      LeaveBehindLocked(load, work);
    }
    if (load.convoy != nullptr) {
      NoteInRamLocked(id, load);
      if (load.copy_failed) return GoOnByLayerLocked(id, work);
      if (load.convoy->verified.Raise(load.place, load.convoy->block_bytes)) {
        SendLocked(*load.convoy, work);
      }
    } else {
      StartToGpuLocked(id, load, work);
    }
    return;
  }
  LeaveBehindLocked(load, work);
  // The states of those who wait are held by tickets_, or given up.
  const Load ended_load = std::move(loads_.at(id));
  loads_.erase(id);
  if (ended_load.to == Tier::kGpu) core_.gpu.AbortLoad(ended_load.gpu_slot);
  EndWaitersLocked(ended_load, outcome, work);
}

void Promoter::EndWaitersLocked(const Load& load, Outcome outcome, Work& work) {
  for (const Waiter& waiter : load.waiters) {
    Pending& pending = *waiter.pending;
    if (waiter.entry >= pending.end) continue;
    if (outcome == Outcome::kReady) {
      Entry& entry = pending.entries[waiter.entry];
      entry.outcome = outcome;
      if (load.to == Tier::kGpu) PinEntryOnGpuLocked(entry);
      NoteArrivedLocked(pending, waiter.entry, pending.payload_bytes);
      --pending.loads_left;
    } else {
      EndAtLocked(pending, waiter.entry, outcome);
    }
    FinishIfDoneLocked(waiter.pending, work);
  }
}

void Promoter::GoOn(Work work) {
  Do(std::move(work));
  absl::MutexLock lock(&core_.mu);
  --ending_;
  idle_cv_.Signal();
}

Promoter::Outcome Promoter::EndLoadLocked(BlockId id, SlotIndex slot, const absl::Status& status) {
  if (status.ok()) {
    return core_.disk.EndLoad(id, slot) ? Outcome::kReady : Outcome::kLost;
  }
  const bool readable_in_ram = core_.disk.AbortLoad(id, slot);
  const bool lost =
      status.code() == absl::StatusCode::kDataLoss || status.code() == absl::StatusCode::kNotFound;
  const PrefixIndex::Node& node = core_.state.index.node(id);
  if (node.readable_on_disk()) {
    // A good copy in memory must not be given up for one that could not be read.
    if (lost || readable_in_ram || node.in_gpu) {
      const bool is_corrupt = status.code() == absl::StatusCode::kDataLoss;
      core_.state.counters.corrupt_disk_blocks += is_corrupt;
      core_.disk.Condemn(id, is_corrupt ? Removal::kFailedVerification : Removal::kLost);
    } else {
      core_.disk.NoteIoError(id);
    }
  }
  // It may be gone from RAM with an ancestor, if nobody waits for it.
  if (readable_in_ram) return node.in_ram() ? Outcome::kReady : Outcome::kLost;
  if (status.code() == absl::StatusCode::kNotFound) return Outcome::kLost;
  return lost ? Outcome::kCorrupt : Outcome::kIoError;
}

void Promoter::Do(Work work) {
  // First: inside the end of a load, starting others may wait for a disk that hangs.
  for (auto& [state, prefix] : work.completions) state->Complete(std::move(prefix));
  if (!work.loads.empty()) core_.tier->StartLoads(std::move(work.loads));
  StartCopies(work);
}

void Promoter::Run() {
  for (bool closing = false; !closing;) {
    Work work;
    {
      absl::MutexLock lock(&core_.mu);
      // First, because it may make tickets starve, whose patience ExpireLocked must know of.
      PumpLocked(work);
      const absl::Time next = ExpireLocked(work);
      if (!work.empty()) core_.NoteChange();
      closing = closing_;
      if (work.empty() && !closing) core_.load_cv.WaitWithDeadline(&core_.mu, next);
    }
    Do(std::move(work));
  }
}

}  // namespace reprise::cachestore
