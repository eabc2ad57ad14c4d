#include "engine/backend/cuda/emulation/thread_block.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"

namespace reprise::engine::cuda::emulation {
namespace {

uint64_t NextRandom(uint64_t* state) {
  *state = *state * 6364136223846793005u + 1442695040888963407u;
  return *state >> 33;
}

// 0 .. count - 1 in the order of `order`.
std::vector<int> Turns(Order order, int count, uint64_t* random) {
  std::vector<int> turns(count);
  std::iota(turns.begin(), turns.end(), 0);
  if (order == Order::kReverse) std::reverse(turns.begin(), turns.end());
  if (order == Order::kShuffled) {
    for (int i = count - 1; i > 0; --i) std::swap(turns[i], turns[NextRandom(random) % (i + 1)]);
  }
  return turns;
}

}  // namespace

absl::Status Launch(const Grid& grid, const Schedule& schedule, absl::FunctionRef<void()> kernel) {
  CHECK(grid.x > 0 && grid.y > 0 && grid.threads > 0 && grid.threads <= 1024);
  CHECK(grid.threads % kWarpLanes == 0 && grid.shared_bytes >= 0);
  uint64_t random = schedule.seed;
  // Used by block after block: the address sanitizer takes long to make and to forget one.
  const std::unique_ptr<std::byte[]> stacks(new std::byte[grid.threads * Fiber::kStackBytes]);
  for (const int i : Turns(schedule.order, grid.x * grid.y, &random)) {
    ThreadBlock block(grid, i % grid.x, i / grid.x, schedule, kernel, stacks.get());
    const absl::Status status = block.Run();
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

ThreadBlock::ThreadBlock(const Grid& grid, int x, int y, const Schedule& schedule,
                         absl::FunctionRef<void()> kernel, std::byte* stacks)
    : grid_(grid),
      x_(x),
      y_(y),
      schedule_(schedule),
      kernel_(kernel),
      random_(schedule.seed + 1),
      shared_(grid.shared_bytes, kPoison),
      threads_(grid.threads),
      warps_(grid.threads / kWarpLanes) {
  for (Thread& thread : threads_) {
    thread.fiber = std::make_unique<Fiber>([this] { RunThread(); }, stacks);
    stacks += Fiber::kStackBytes;
  }
}

absl::Status ThreadBlock::Run() {
  CHECK(current_ == nullptr);
  current_ = this;
  bool any_ran = true;
  while (status_.ok() && any_ran) {
    any_ran = false;
    for (const int turn : NextTurns()) {
      if (threads_[turn].waiting || threads_[turn].fiber->ended()) continue;
      running_ = turn;
      any_ran = true;
      threads_[turn].fiber->Resume();
      if (!status_.ok()) break;
    }
  }
  current_ = nullptr;
  if (status_.ok() && std::any_of(threads_.begin(), threads_.end(),
                                  [](const Thread& t) { return !t.fiber->ended(); })) {
    status_ = absl::InternalError(absl::StrCat("block (", x_, ", ", y_, "): deadlock:", Waiting()));
  }
  return status_;
}

void ThreadBlock::RunThread() {
  kernel_();
  const Thread& thread = threads_[running_];
  if (!thread.open_copies.empty() || !thread.committed.empty()) {
    Fail("ended before its copies were waited for");
  }
}

std::vector<int> ThreadBlock::NextTurns() {
  return Turns(schedule_.order, grid_.threads, &random_);
}

std::string ThreadBlock::Waiting() const {
  std::string text;
  for (int i = 0; i < grid_.threads; ++i) {
    const Thread& thread = threads_[i];
    absl::StrAppend(&text, " ", i, ":", thread.fiber->ended() ? "ended" : thread.waits_for);
  }
  return text;
}

void ThreadBlock::Fail(absl::string_view cause, absl::string_view more, absl::string_view last) {
  status_ = absl::InternalError(
      absl::StrCat("block (", x_, ", ", y_, "), thread ", running_, ": ", cause, more, last));
  threads_[running_].fiber->Suspend();
  std::abort();  // a block that failed is not resumed
}

void ThreadBlock::Meet(const char* what, Barrier* barrier, int threads) {
  barrier->waiting.push_back(running_);
  if (static_cast<int>(barrier->waiting.size()) == threads) {
    for (const int waiter : barrier->waiting) threads_[waiter].waiting = false;
    barrier->waiting.clear();
    return;
  }
  Thread& thread = threads_[running_];
  thread.waiting = true;
  thread.waits_for = what;
  thread.fiber->Suspend();
}

void ThreadBlock::SyncNamed(int number, int threads) {
  if (number < 0 || number >= kNamedBarriers) Fail("no such barrier");
  if (threads <= 0 || threads > grid_.threads || threads % kWarpLanes != 0) {
    Fail("a barrier of no whole number of warps");
  }
  Meet("named barrier", &named_[number], threads);
}

const std::byte* ThreadBlock::Exchange(const char* operation, const void* mine, size_t bytes) {
  Warp& warp = warps_[running_ / kWarpLanes];
  if (warp.operation == nullptr) {
    warp.operation = operation;
    warp.bytes = bytes;
    warp.data[warp.round % 2].resize(kWarpLanes * bytes);
  } else if (warp.bytes != bytes || std::strcmp(warp.operation, operation) != 0) {
    Fail(operation, " while its warp is at ", warp.operation);
  }
  std::vector<std::byte>& data = warp.data[warp.round % 2];
  if (bytes > 0) std::memcpy(data.data() + running_ % kWarpLanes * bytes, mine, bytes);
  if (warp.barrier.waiting.size() == kWarpLanes - 1) {
    warp.operation = nullptr;
    ++warp.round;
  }
  Meet(operation, &warp.barrier, kWarpLanes);
  return data.data();
}

void ThreadBlock::BeginCopy(std::byte* to, const std::byte* from, size_t bytes) {
  CheckShared(to, bytes, bytes, "asynchronous copy");
  if (reinterpret_cast<uintptr_t>(from) % bytes != 0) Fail("asynchronous copy: unaligned source");
  const Copy copy = {to, from, bytes};
  if (schedule_.copies == CopyTime::kEarliest) {
    Perform({copy});
  } else {
    std::fill(to, to + bytes, kPoison);
  }
  threads_[running_].open_copies.push_back(copy);
}

void ThreadBlock::CommitCopies() {
  Thread& thread = threads_[running_];
  thread.committed.push_back(std::move(thread.open_copies));
  thread.open_copies.clear();
}

void ThreadBlock::WaitForCopies(int groups_left) {
  Thread& thread = threads_[running_];
  while (static_cast<int>(thread.committed.size()) > groups_left) {
    if (schedule_.copies == CopyTime::kLatest) Perform(thread.committed.front());
    thread.committed.pop_front();
  }
}

void ThreadBlock::Perform(const std::vector<Copy>& copies) {
  for (const Copy& copy : copies) std::memcpy(copy.to, copy.from, copy.bytes);
}

void ThreadBlock::CheckShared(const void* at, size_t bytes, size_t alignment,
                              const char* operation) {
  const auto begin = reinterpret_cast<uintptr_t>(shared_.data());
  const auto place = reinterpret_cast<uintptr_t>(at);
  if (place < begin || place + bytes > begin + shared_.size()) {
    Fail(operation, ": leaves shared memory");
  }
  if (place % alignment != 0) Fail(operation, ": not aligned");
}

}  // namespace reprise::engine::cuda::emulation
