#include "engine/backend/cuda/emulation/phase_barriers.h"

#include <cstring>

#include "engine/backend/cuda/emulation/thread_block.h"

namespace reprise::engine::cuda::emulation {
namespace {

constexpr uint64_t kMark = 0x7265697272616221;  // lies where a barrier is

}  // namespace

void PhaseBarriers::Init(void* at, int arrivals) {
  ThreadBlock& block = ThreadBlock::Current();
  block.CheckShared(at, sizeof(kMark), sizeof(kMark), "mbarrier");
  if (arrivals <= 0) block.Fail("mbarrier for no arrivals");
  if (barriers_.contains(at)) block.Fail("mbarrier made twice");
  std::memcpy(at, &kMark, sizeof(kMark));
  barriers_[at].arrivals = barriers_[at].missing = arrivals;
}

void PhaseBarriers::Fence() {
  for (auto& [at, barrier] : barriers_) barrier.is_fenced = true;
}

PhaseBarriers::Barrier& PhaseBarriers::Find(void* at) {
  const auto found = barriers_.find(at);
  if (found == barriers_.end()) ThreadBlock::Current().Fail("no mbarrier was made here");
  if (std::memcmp(at, &kMark, sizeof(kMark)) != 0) {
    ThreadBlock::Current().Fail("an mbarrier was overwritten");
  }
  return found->second;
}

void PhaseBarriers::CheckFenced(void* at) {
  if (!Find(at).is_fenced) ThreadBlock::Current().Fail("copy to an mbarrier that was not fenced");
}

void PhaseBarriers::Arrive(void* at, int64_t bytes) {
  Barrier& barrier = Find(at);
  --barrier.missing;
  barrier.bytes += bytes;
  EndPhaseIfDone(&barrier);
}

void PhaseBarriers::Land(void* at, int64_t bytes) {
  Barrier& barrier = barriers_.at(at);
  barrier.bytes -= bytes;
  if (barrier.bytes < 0) {
    ThreadBlock::Current().FailAside("more bytes landed than an mbarrier was told of");
    return;
  }
  EndPhaseIfDone(&barrier);
}

void PhaseBarriers::Wait(void* at, int parity) {
  Barrier& barrier = Find(at);
  while (barrier.parity == parity) ThreadBlock::Current().Sleep("mbarrier", &barrier.waiters);
}

void PhaseBarriers::EndPhaseIfDone(Barrier* barrier) {
  if (barrier->missing > 0 || barrier->bytes > 0) return;
  barrier->missing = barrier->arrivals;
  barrier->parity ^= 1;
  ThreadBlock::Current().Wake(&barrier->waiters);
}

}  // namespace reprise::engine::cuda::emulation
