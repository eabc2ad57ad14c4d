// ThreadBlock: one block of a CUDA grid on one OS thread. Each CUDA thread is a fiber that runs
// until it must wait for others; whose turn is next is the caller's choice, so a kernel whose
// result depends on it, for want of a barrier, shows itself.
//
// Stricter than the hardware: all threads of a block come to each block barrier, all 32 lanes of a
// warp to each warp operation, and to the same one. What breaks that, or leaves shared memory, or
// ends with copies or products that nobody waited for, ends the block with a status that says which
// thread.
// Thread-hostile: one block at a time on an OS thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "cachestore/base/check.h"
#include "engine/backend/cuda/emulation/fiber.h"
#include "engine/backend/cuda/emulation/group_mma.h"
#include "engine/backend/cuda/emulation/grouped_work.h"
#include "engine/backend/cuda/emulation/phase_barriers.h"

namespace reprise::engine::cuda::emulation {

inline constexpr int kWarpLanes = 32;
inline constexpr int kGroupLanes = 128;  // a warpgroup
inline constexpr int kNamedBarriers = 16;
// What shared memory holds before it is written, and where a copy is under way: NaN in every float
// format, -1 in integers.
inline constexpr std::byte kPoison{0xFF};
// Of shared memory: patterns of 128-byte swizzles begin at its multiples.
inline constexpr size_t kSharedAlignment = 1024;

// Whose turn is next among the threads that can run, and which block of a grid.
enum class Order { kForward, kReverse, kShuffled };
// When an asynchronous copy happens: as soon, or as late, as the rules allow.
enum class CopyTime { kEarliest, kLatest };

struct Schedule {
  Order order = Order::kForward;
  uint32_t seed = 0;  // of kShuffled
  CopyTime copies = CopyTime::kLatest;
};

struct Grid {
  int x = 1;
  int y = 1;
  int threads = kWarpLanes;  // a block; a multiple of kWarpLanes
  int shared_bytes = 0;      // a block
};

// Runs `kernel` once for each thread of each block of `grid`, block after block.
// kInternal: the kernel broke a rule; says which, which block and which thread.
// REQUIRES: the grid is not empty and within a card's limits (1024 threads).
absl::Status Launch(const Grid& grid, const Schedule& schedule, absl::FunctionRef<void()> kernel);

class ThreadBlock {
 public:
  // `stacks`: Fiber::kStackBytes a thread; outlive the block.
  ThreadBlock(const Grid& grid, int x, int y, const Schedule& schedule,
              absl::FunctionRef<void()> kernel, std::byte* stacks);

  // Runs all threads to their end.
  absl::Status Run();

  // The block that is running on this OS thread. REQUIRES: called from a kernel.
  static ThreadBlock& Current() {
    CHECK(current_ != nullptr);
    return *current_;
  }

  // For the running thread, from here on.
  int x() const { return x_; }
  int y() const { return y_; }
  int thread() const { return running_; }
  const Grid& grid() const { return grid_; }
  std::byte* shared() { return shared_; }

  // Waits for all threads of the block.
  void SyncBlock() { Meet("block barrier", &block_barrier_, grid_.threads); }
  // Waits until `threads` threads have come to barrier `number`.
  void SyncNamed(int number, int threads);

  // Waits for all lanes of the warp, which must come to the same `operation` with as many bytes.
  // Returns their bytes, lane after lane; they stay until the warp's next exchange is over.
  const std::byte* Exchange(const char* operation, const void* mine, size_t bytes);
  // The same for all lanes of the warpgroup.
  const std::byte* ExchangeInGroup(const char* operation, const void* mine, size_t bytes);

  // cp.async, cp.async.commit_group, cp.async.wait_group: copies of the running thread.
  void BeginCopy(std::byte* to, const std::byte* from, size_t bytes);
  void CommitCopies();
  void WaitForCopies(int groups_left);

  // 16 bytes that only copies of boxes and products of warpgroups read afterwards (the asynchronous
  // proxy): poison until the thread that wrote them has fenced them.
  void StoreForAsync(std::byte* to, const void* words);
  void FenceAsync();

  // wgmma of the running thread, and mbarriers of the block.
  GroupProducts& products() { return threads_[running_].products; }
  PhaseBarriers& barriers() { return barriers_; }
  CopyTime copy_time() const { return schedule_.copies; }

  // What no thread does: at once, or when no thread can go on without it, in any order.
  void DoAside(std::function<void()> work);

  // Makes the running thread wait among `waiters`, and those wait no longer.
  void Sleep(const char* what, std::vector<int>* waiters);
  void Wake(std::vector<int>* waiters);

  // Fails unless [at, at + bytes) lies in shared memory, at a multiple of `alignment`.
  void CheckShared(const void* at, size_t bytes, size_t alignment, const char* operation);

  // Ends the block with kInternal and the three put together. Does not return: the caller, whose
  // stack is dropped, may own nothing.
  [[noreturn]] void Fail(absl::string_view cause, absl::string_view more = "",
                         absl::string_view last = "");
  // The same for what no thread does; returns.
  void FailAside(absl::string_view cause);

 private:
  struct Copy {
    std::byte* to;
    const std::byte* from;
    size_t bytes;
  };
  struct Store {
    std::byte* to;
    std::byte bytes[16];
  };
  struct Thread {
    std::unique_ptr<Fiber> fiber;
    bool waiting = false;
    const char* waits_for = "";
    GroupedWork<Copy> copies;
    GroupProducts products;
    std::vector<Store> unfenced;
  };
  struct Barrier {
    std::vector<int> waiting;
  };
  // Exchanges of a warp or a warpgroup alternate between two buffers: a lane may begin the next one
  // while another still reads this one's.
  struct Lanes {
    Barrier barrier;
    const char* operation = nullptr;  // of the exchange under way
    size_t bytes = 0;
    uint32_t round = 0;
    std::vector<std::byte> data[2];
  };

  void RunThread();
  void Meet(const char* what, Barrier* barrier, int threads);
  const std::byte* ExchangeAmong(Lanes* lanes, int count, const char* operation, const void* mine,
                                 size_t bytes);
  // Gives every thread that can run a turn, or else one work aside; whether there was any.
  bool RunThreads();
  bool RunAside();
  std::vector<int> NextTurns();
  std::string Waiting() const;

  // Fibers find their block through it.
  static inline constinit thread_local ThreadBlock* current_ = nullptr;

  const Grid grid_;
  const int x_;
  const int y_;
  const Schedule schedule_;
  absl::FunctionRef<void()> kernel_;
  uint64_t random_;
  std::vector<std::byte> shared_memory_;
  std::byte* const shared_;  // in it, at a multiple of kSharedAlignment
  std::vector<Thread> threads_;
  std::vector<Lanes> warps_;
  std::vector<Lanes> groups_;
  Barrier block_barrier_;
  Barrier named_[kNamedBarriers];
  PhaseBarriers barriers_;
  std::vector<std::function<void()>> aside_;  // oldest first
  int running_ = 0;
  absl::Status status_;
};

}  // namespace reprise::engine::cuda::emulation
