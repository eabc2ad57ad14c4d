#include <liburing.h>

#include <cerrno>
#include <cstring>
#include <deque>
#include <memory>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "cachestore/base/check.h"
#include "cachestore/tier/io_engine.h"

namespace reprise::cachestore {
namespace {

// Operations under way; deeper than the best depth of any disk measured so far (32).
constexpr unsigned kRingEntries = 64;

// What goes through the ring: a read or write, or posted work (io.done is null then).
struct Operation {
  FileIo io;
  absl::AnyInvocable<void() &&> work;
};

// Threads take turns at waiting for a completion; the one that has it leaves the turn to the next
// and handles it. So what happens in `done` (verification, callbacks) uses several cores, and no
// completion is handed from thread to thread.
class UringEngine final : public IoEngine {
 public:
  UringEngine(const io_uring& ring, int num_threads) : ring_(ring) {
    for (int i = 0; i < num_threads; ++i) threads_.emplace_back([this] { Run(); });
  }

  ~UringEngine() override {
    {
      absl::MutexLock lock(&submit_mu_);
      while (unfinished_ > 0) idle_.Wait(&submit_mu_);
      // A completion without an operation ends the thread whose turn it is, and then the others.
      io_uring_sqe* sqe = io_uring_get_sqe(&ring_);
      io_uring_prep_nop(sqe);
      io_uring_sqe_set_data(sqe, nullptr);
      SubmitLocked();
    }
    for (std::thread& thread : threads_) thread.join();
    io_uring_queue_exit(&ring_);
  }

  void Start(std::vector<FileIo> batch) override {
    absl::MutexLock lock(&submit_mu_);
    for (FileIo& io : batch) {
      waiting_.push_back(std::make_unique<Operation>(Operation{.io = std::move(io), .work = {}}));
    }
    unfinished_ += static_cast<int64_t>(batch.size());
    PumpLocked();
  }

  void Post(absl::AnyInvocable<void() &&> work) override {
    absl::MutexLock lock(&submit_mu_);
    waiting_.push_back(std::make_unique<Operation>(Operation{.io = {}, .work = std::move(work)}));
    ++unfinished_;
    PumpLocked();
  }

  int max_in_flight() const override { return kRingEntries; }
  absl::string_view name() const override { return "io_uring"; }

 private:
  void Run() {
    int answer = 0;
    while (Operation* operation = AwaitCompletion(&answer)) {
      Handle(std::unique_ptr<Operation>(operation), answer);
    }
  }

  // The next completed operation and the kernel's answer; null when the engine ends.
  Operation* AwaitCompletion(int* answer) ABSL_LOCKS_EXCLUDED(turn_mu_) {
    absl::MutexLock turn(&turn_mu_);
    if (ended_) return nullptr;
    io_uring_cqe* cqe = nullptr;
    int error = 0;
    do {
      error = io_uring_wait_cqe(&ring_, &cqe);
    } while (error == -EINTR || error == -EAGAIN);
    CHECK(error == 0);
    auto* operation = static_cast<Operation*>(io_uring_cqe_get_data(cqe));
    *answer = cqe->res;
    io_uring_cqe_seen(&ring_, cqe);
    ended_ = operation == nullptr;
    return operation;
  }

  void Handle(std::unique_ptr<Operation> operation, int answer) ABSL_LOCKS_EXCLUDED(submit_mu_) {
    {
      absl::MutexLock lock(&submit_mu_);
      --in_ring_;
      PumpLocked();
    }
    if (operation->work) {
      std::move(operation->work)();
    } else {
      int64_t end = 0;
      if (!Advance(operation->io, answer, &end)) {
        absl::MutexLock lock(&submit_mu_);
        waiting_.push_back(std::move(operation));
        PumpLocked();
        return;
      }
      std::move(operation->io.done)(end);
    }
    operation.reset();
    absl::MutexLock lock(&submit_mu_);
    if (--unfinished_ == 0) idle_.Signal();
  }

  // Gives the kernel as many waiting operations as the ring takes.
  void PumpLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(submit_mu_) {
    if (waiting_.empty() || in_ring_ == kRingEntries) return;
    while (!waiting_.empty() && in_ring_ < kRingEntries) {
      Operation* operation = waiting_.front().release();
      waiting_.pop_front();
      io_uring_sqe* sqe = io_uring_get_sqe(&ring_);
      CHECK(sqe != nullptr);  // everything prepared before was submitted
      const FileIo& io = operation->io;
      if (operation->work) {
        io_uring_prep_nop(sqe);
      } else if (io.kind == FileIo::Kind::kRead) {
        io_uring_prep_readv(sqe, io.fd, RestPieces(io), NumRestPieces(io), io.offset);
      } else {
        io_uring_prep_writev(sqe, io.fd, RestPieces(io), NumRestPieces(io), io.offset);
      }
      io_uring_sqe_set_data(sqe, operation);
      ++in_ring_;
    }
    SubmitLocked();
  }

  void SubmitLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(submit_mu_) {
    while (io_uring_sq_ready(&ring_) > 0) {
      const int submitted = io_uring_submit(&ring_);
      if (submitted >= 0) continue;
      // Interrupted, or the kernel is short of memory for a moment.
      CHECK(submitted == -EINTR || submitted == -EAGAIN || submitted == -EBUSY);
      std::this_thread::yield();
    }
  }

  // The submission side is used under submit_mu_, the completion side under turn_mu_.
  io_uring ring_;

  absl::Mutex turn_mu_;
  bool ended_ ABSL_GUARDED_BY(turn_mu_) = false;

  absl::Mutex submit_mu_;
  absl::CondVar idle_;
  std::deque<std::unique_ptr<Operation>> waiting_ ABSL_GUARDED_BY(submit_mu_);
  unsigned in_ring_ ABSL_GUARDED_BY(submit_mu_) = 0;
  int64_t unfinished_ ABSL_GUARDED_BY(submit_mu_) = 0;  // started, and `done` has not returned

  std::vector<std::thread> threads_;
};

// Runs one operation through the ring: a sandbox may allow to set it up and refuse its use.
int TryRing(io_uring& ring) {
  io_uring_prep_nop(io_uring_get_sqe(&ring));
  if (const int submitted = io_uring_submit_and_wait(&ring, 1); submitted < 0) return submitted;
  io_uring_cqe* cqe = nullptr;
  if (const int error = io_uring_peek_cqe(&ring, &cqe); error < 0) return error;
  const int answer = cqe->res;
  io_uring_cqe_seen(&ring, cqe);
  return answer;
}

}  // namespace

absl::StatusOr<std::unique_ptr<IoEngine>> MakeUringEngine(int num_threads) {
  io_uring ring;
  int error = io_uring_queue_init(kRingEntries, &ring, 0);
  if (error == 0) {
    error = TryRing(ring);
    if (error < 0) io_uring_queue_exit(&ring);
  }
  if (error < 0) return absl::UnavailableError(absl::StrCat("io_uring: ", std::strerror(-error)));
  return std::make_unique<UringEngine>(ring, num_threads);
}

}  // namespace reprise::cachestore
