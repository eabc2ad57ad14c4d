// Fiber: a function on a stack of its own, which can give the OS thread back in its middle and go
// on later. Many fibers share one OS thread. Known to the address and thread sanitizers.
//
// A fiber may be destroyed before it ended: what lies on its stack is then dropped, no destructor
// runs. Thread-hostile: all calls come from the OS thread that made it.
#pragma once

#include <ucontext.h>

#include <cstddef>
#include <functional>

namespace reprise::engine::cuda::emulation {

class Fiber {
 public:
  static constexpr size_t kStackBytes = 256 * 1024;  // sanitizers blow frames up

  // Does not run `body` yet. `stack`: kStackBytes that outlive the fiber, of no other fiber that
  // has not ended.
  Fiber(std::function<void()> body, std::byte* stack);
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  // Runs the body until it suspends or ends. REQUIRES: !ended(), and no fiber is running.
  void Resume();
  // Goes back to Resume. REQUIRES: called by the body.
  void Suspend();
  bool ended() const { return ended_; }

 private:
  static void Enter(unsigned low, unsigned high);
  void Run();
  // `dying`: the fiber does not come back.
  void SwitchOut(bool dying);

  std::function<void()> body_;
  std::byte* const stack_;
  ucontext_t inside_;
  ucontext_t outside_;
  bool ended_ = false;
  // What the sanitizers remember of both stacks.
  void* fake_stack_ = nullptr;
  const void* outside_stack_ = nullptr;
  size_t outside_bytes_ = 0;
  [[maybe_unused]] void* tsan_fiber_ = nullptr;
  [[maybe_unused]] void* tsan_outside_ = nullptr;
};

}  // namespace reprise::engine::cuda::emulation
