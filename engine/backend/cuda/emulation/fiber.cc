#include "engine/backend/cuda/emulation/fiber.h"

#include <cstdint>
#include <utility>

#include "cachestore/base/check.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define REPRISE_ASAN_FIBERS
#endif
#if __has_feature(thread_sanitizer)
#define REPRISE_TSAN_FIBERS
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define REPRISE_ASAN_FIBERS
#endif
#if defined(__SANITIZE_THREAD__)
#define REPRISE_TSAN_FIBERS
#endif

#ifdef REPRISE_ASAN_FIBERS
#include <sanitizer/common_interface_defs.h>
#endif
#ifdef REPRISE_TSAN_FIBERS
#include <sanitizer/tsan_interface.h>
#endif

namespace reprise::engine::cuda::emulation {
namespace {

// Tells the address sanitizer that the stack changes; no-op without it.
void BeginSwitch(void** fake_stack, const void* to, size_t bytes) {
#ifdef REPRISE_ASAN_FIBERS
  __sanitizer_start_switch_fiber(fake_stack, to, bytes);
#endif
}

void EndSwitch(void* fake_stack, const void** from, size_t* bytes) {
#ifdef REPRISE_ASAN_FIBERS
  __sanitizer_finish_switch_fiber(fake_stack, from, bytes);
#endif
}

}  // namespace

Fiber::Fiber(std::function<void()> body, std::byte* stack) : body_(std::move(body)), stack_(stack) {
  CHECK(getcontext(&inside_) == 0);
  inside_.uc_stack.ss_sp = stack_;
  inside_.uc_stack.ss_size = kStackBytes;
  inside_.uc_link = nullptr;
  const auto self = reinterpret_cast<uintptr_t>(this);
  makecontext(&inside_, reinterpret_cast<void (*)()>(&Fiber::Enter), 2, static_cast<unsigned>(self),
              static_cast<unsigned>(self >> 32));
#ifdef REPRISE_TSAN_FIBERS
  tsan_fiber_ = __tsan_create_fiber(0);
#endif
}

Fiber::~Fiber() {
#ifdef REPRISE_TSAN_FIBERS
  __tsan_destroy_fiber(tsan_fiber_);
#endif
}

// makecontext passes ints: the address comes in halves.
void Fiber::Enter(unsigned low, unsigned high) {
  reinterpret_cast<Fiber*>(uintptr_t{low} | uintptr_t{high} << 32)->Run();
}

void Fiber::Run() {
  EndSwitch(nullptr, &outside_stack_, &outside_bytes_);
  body_();
  ended_ = true;
  SwitchOut(/*dying=*/true);
}

void Fiber::Resume() {
  CHECK(!ended_);
  void* fake_stack = nullptr;
#ifdef REPRISE_TSAN_FIBERS
  tsan_outside_ = __tsan_get_current_fiber();
  __tsan_switch_to_fiber(tsan_fiber_, 0);
#endif
  BeginSwitch(&fake_stack, stack_, kStackBytes);
  CHECK(swapcontext(&outside_, &inside_) == 0);
  EndSwitch(fake_stack, nullptr, nullptr);
}

void Fiber::Suspend() { SwitchOut(/*dying=*/false); }

void Fiber::SwitchOut(bool dying) {
#ifdef REPRISE_TSAN_FIBERS
  __tsan_switch_to_fiber(tsan_outside_, 0);
#endif
  BeginSwitch(dying ? nullptr : &fake_stack_, outside_stack_, outside_bytes_);
  CHECK(swapcontext(&inside_, &outside_) == 0);
  EndSwitch(fake_stack_, &outside_stack_, &outside_bytes_);
}

}  // namespace reprise::engine::cuda::emulation
