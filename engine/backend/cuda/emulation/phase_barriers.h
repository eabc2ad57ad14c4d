// PhaseBarriers: the mbarriers of a block. A phase ends when as many arrivals as the barrier was
// made for have come and all bytes that were announced to it have landed.
//
// Stricter than the hardware: bytes are announced before they land, a barrier is fenced before a
// copy lands at it, and nothing else writes where it lies. Thread-hostile.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

namespace reprise::engine::cuda::emulation {

// All calls but Land come from a running thread; `at` is where the barrier lies in shared memory.
class PhaseBarriers {
 public:
  void Init(void* at, int arrivals);
  // Lets copies see the barriers that were made so far.
  void Fence();
  // One arrival, which announces `bytes`.
  void Arrive(void* at, int64_t bytes);
  // What a copy to come will land at. Fails unless there is a fenced barrier.
  void CheckFenced(void* at);
  // `bytes` of a copy have landed.
  void Land(void* at, int64_t bytes);
  // Waits until the phase of this parity has ended; the first phase's is 0. The one before the
  // first has ended.
  void Wait(void* at, int parity);

 private:
  struct Barrier {
    int arrivals = 0;   // of each phase
    int missing = 0;    // of this phase
    int64_t bytes = 0;  // announced less landed
    int parity = 0;     // of this phase
    bool is_fenced = false;
    std::vector<int> waiters;
  };

  Barrier& Find(void* at);
  void EndPhaseIfDone(Barrier* barrier);

  std::map<void*, Barrier> barriers_;
};

}  // namespace reprise::engine::cuda::emulation
