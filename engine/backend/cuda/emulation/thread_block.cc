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
      shared_memory_(grid.shared_bytes + kSharedAlignment, kPoison),
      shared_(shared_memory_.data() + kSharedAlignment -
              reinterpret_cast<uintptr_t>(shared_memory_.data()) % kSharedAlignment),
      threads_(grid.threads),
      warps_(grid.threads / kWarpLanes),
      groups_(grid.threads / kGroupLanes) {
  for (Thread& thread : threads_) {
    thread.fiber = std::make_unique<Fiber>([this] { RunThread(); }, stacks);
    stacks += Fiber::kStackBytes;
  }
}

absl::Status ThreadBlock::Run() {
  CHECK(current_ == nullptr);
  current_ = this;
  while (status_.ok() && (RunThreads() || RunAside())) {
  }
  current_ = nullptr;
  if (!status_.ok()) return status_;
  if (std::any_of(threads_.begin(), threads_.end(),
                  [](const Thread& t) { return !t.fiber->ended(); })) {
    return absl::InternalError(absl::StrCat("block (", x_, ", ", y_, "): deadlock:", Waiting()));
  }
  return status_;
}

bool ThreadBlock::RunThreads() {
  bool any_ran = false;
  for (const int turn : NextTurns()) {
    if (threads_[turn].waiting || threads_[turn].fiber->ended()) continue;
    running_ = turn;
    any_ran = true;
    threads_[turn].fiber->Resume();
    if (!status_.ok()) break;
  }
  return any_ran;
}

bool ThreadBlock::RunAside() {
  if (aside_.empty()) return false;
  const auto next = aside_.begin() + Turns(schedule_.order, aside_.size(), &random_)[0];
  const std::function<void()> work = std::move(*next);
  aside_.erase(next);
  if (std::all_of(threads_.begin(), threads_.end(),
                  [](const Thread& t) { return t.fiber->ended(); })) {
    FailAside("ended before a box that it fetches was there");
    return true;
  }
  work();
  return true;
}

void ThreadBlock::RunThread() {
  kernel_();
  const Thread& thread = threads_[running_];
  if (!thread.copies.empty()) Fail("ended before its copies were waited for");
  if (!thread.products.empty()) Fail("ended before its products were waited for");
  if (!thread.unfenced.empty()) Fail("ended before its stores were fenced");
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

void ThreadBlock::FailAside(absl::string_view cause) {
  status_.Update(absl::InternalError(absl::StrCat("block (", x_, ", ", y_, "): ", cause)));
}

void ThreadBlock::Sleep(const char* what, std::vector<int>* waiters) {
  waiters->push_back(running_);
  Thread& thread = threads_[running_];
  thread.waiting = true;
  thread.waits_for = what;
  thread.fiber->Suspend();
}

void ThreadBlock::Wake(std::vector<int>* waiters) {
  for (const int waiter : *waiters) threads_[waiter].waiting = false;
  waiters->clear();
}

void ThreadBlock::DoAside(std::function<void()> work) {
  schedule_.copies == CopyTime::kEarliest ? work() : aside_.push_back(std::move(work));
}

void ThreadBlock::Meet(const char* what, Barrier* barrier, int threads) {
  if (static_cast<int>(barrier->waiting.size()) == threads - 1) {
    Wake(&barrier->waiting);
  } else {
    Sleep(what, &barrier->waiting);
  }
}

void ThreadBlock::SyncNamed(int number, int threads) {
  if (number < 0 || number >= kNamedBarriers) Fail("no such barrier");
  if (threads <= 0 || threads > grid_.threads || threads % kWarpLanes != 0) {
    Fail("a barrier of no whole number of warps");
  }
  Meet("named barrier", &named_[number], threads);
}

const std::byte* ThreadBlock::Exchange(const char* operation, const void* mine, size_t bytes) {
  return ExchangeAmong(&warps_[running_ / kWarpLanes], kWarpLanes, operation, mine, bytes);
}

const std::byte* ThreadBlock::ExchangeInGroup(const char* operation, const void* mine,
                                              size_t bytes) {
  const size_t group = running_ / kGroupLanes;
  if (group >= groups_.size()) Fail(operation, " by less than a warpgroup");
  return ExchangeAmong(&groups_[group], kGroupLanes, operation, mine, bytes);
}

const std::byte* ThreadBlock::ExchangeAmong(Lanes* lanes, int count, const char* operation,
                                            const void* mine, size_t bytes) {
  std::vector<std::byte>& data = lanes->data[lanes->round % 2];
  if (lanes->operation == nullptr) {
    lanes->operation = operation;
    lanes->bytes = bytes;
    data.resize(count * bytes);
  } else if (lanes->bytes != bytes || std::strcmp(lanes->operation, operation) != 0) {
    Fail(operation, " while its warp is at ", lanes->operation);
  }
  if (bytes > 0) std::memcpy(data.data() + running_ % count * bytes, mine, bytes);
  if (static_cast<int>(lanes->barrier.waiting.size()) == count - 1) {
    lanes->operation = nullptr;
    ++lanes->round;
  }
  Meet(operation, &lanes->barrier, count);
  return data.data();
}

void ThreadBlock::BeginCopy(std::byte* to, const std::byte* from, size_t bytes) {
  CheckShared(to, bytes, bytes, "asynchronous copy");
  if (reinterpret_cast<uintptr_t>(from) % bytes != 0) Fail("asynchronous copy: unaligned source");
  if (schedule_.copies == CopyTime::kEarliest) {
    std::memcpy(to, from, bytes);
  } else {
    std::fill(to, to + bytes, kPoison);
  }
  threads_[running_].copies.Begin({to, from, bytes});
}

void ThreadBlock::CommitCopies() { threads_[running_].copies.Commit(); }

void ThreadBlock::WaitForCopies(int groups_left) {
  threads_[running_].copies.Wait(groups_left, [this](const Copy& copy) {
    if (schedule_.copies == CopyTime::kLatest) std::memcpy(copy.to, copy.from, copy.bytes);
  });
}

void ThreadBlock::StoreForAsync(std::byte* to, const void* words) {
  CheckShared(to, sizeof(Store::bytes), sizeof(Store::bytes), "store");
  Store store;
  store.to = to;
  std::memcpy(store.bytes, words, sizeof(store.bytes));
  std::fill(to, to + sizeof(store.bytes), kPoison);
  threads_[running_].unfenced.push_back(store);
}

void ThreadBlock::FenceAsync() {
  std::vector<Store>& stores = threads_[running_].unfenced;
  for (const Store& store : stores) std::memcpy(store.to, store.bytes, sizeof(store.bytes));
  stores.clear();
}

void ThreadBlock::CheckShared(const void* at, size_t bytes, size_t alignment,
                              const char* operation) {
  const auto begin = reinterpret_cast<uintptr_t>(shared_);
  const auto place = reinterpret_cast<uintptr_t>(at);
  if (place < begin || place + bytes > begin + grid_.shared_bytes) {
    Fail(operation, ": leaves shared memory");
  }
  if (place % alignment != 0) Fail(operation, ": not aligned");
}

}  // namespace reprise::engine::cuda::emulation
