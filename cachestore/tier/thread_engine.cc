#include <sys/uio.h>

#include <cerrno>
#include <utility>

#include "cachestore/tier/io_engine.h"
#include "cachestore/tier/io_threads.h"

namespace reprise::cachestore {
namespace {

void RunToTheEnd(FileIo& io) {
  int64_t end = 0;
  ssize_t answer = 0;
  do {
    const off_t offset = static_cast<off_t>(io.offset);
    answer = io.kind == FileIo::Kind::kRead
                 ? preadv(io.fd, RestPieces(io), NumRestPieces(io), offset)
                 : pwritev(io.fd, RestPieces(io), NumRestPieces(io), offset);
  } while (!Advance(io, answer < 0 ? -errno : answer, &end));
  std::move(io.done)(end);
}

class ThreadEngine final : public IoEngine {
 public:
  explicit ThreadEngine(int num_threads) : num_threads_(num_threads), threads_(num_threads) {}

  void Start(std::vector<FileIo> batch) override {
    for (FileIo& io : batch) {
      threads_.Post([io = std::move(io)]() mutable { RunToTheEnd(io); });
    }
  }
  void Post(absl::AnyInvocable<void() &&> work) override { threads_.Post(std::move(work)); }
  int max_in_flight() const override { return num_threads_; }
  absl::string_view name() const override { return "threads"; }

 private:
  const int num_threads_;
  IoThreads threads_;
};

}  // namespace

std::unique_ptr<IoEngine> MakeThreadEngine(int num_threads) {
  return std::make_unique<ThreadEngine>(num_threads);
}

}  // namespace reprise::cachestore
