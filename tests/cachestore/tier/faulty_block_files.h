// FaultyBlockFiles: real files of which one operation, counted from the start, goes wrong the way
// disks go wrong. Thread-safe.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "cachestore/tier/block_file.h"

namespace reprise::cachestore {

// What happens at the failing operation.
enum class Fault {
  kIoError,    // EIO; a write has reached the disk up to its first piece
  kNoSpace,    // ENOSPC; the same
  kShortRead,  // reads end early, with garbage in the buffer; other operations: EIO
};

class FaultyBlockFiles final : public BlockFileSystem {
 public:
  // Operation number `failing` (from 1) fails; 0: none does.
  FaultyBlockFiles(int failing, Fault fault)
      : state_(std::make_shared<State>(failing, fault)), real_(MakePosixBlockFileSystem()) {}

  // Whether the failing operation has been reached.
  bool fired() const { return state_->num_operations.load() >= state_->failing; }
  // Operations so far; a batch counts one for each of its reads or writes.
  int num_operations() const { return state_->num_operations.load(); }
  // From here on nothing fails any more.
  void Heal() { state_->healed = true; }

  absl::StatusOr<std::unique_ptr<BlockFile>> Create(const std::string& path,
                                                    uint64_t bytes) override {
    if (state_->FailsNow()) return state_->Error("create");
    return Wrap(real_->Create(path, bytes));
  }
  absl::StatusOr<std::unique_ptr<BlockFile>> Open(const std::string& path) override {
    if (state_->FailsNow()) return state_->Error("open");
    return Wrap(real_->Open(path));
  }
  absl::Status Remove(const std::string& path) override {
    if (state_->FailsNow()) return state_->Error("remove");
    return real_->Remove(path);
  }
  absl::StatusOr<std::vector<Entry>> List(const std::string& directory) override {
    if (state_->FailsNow()) return state_->Error("list");
    return real_->List(directory);
  }
  void Post(absl::AnyInvocable<void() &&> work) override { real_->Post(std::move(work)); }
  int max_in_flight() const override { return real_->max_in_flight(); }
  absl::string_view io_method() const override { return real_->io_method(); }

 private:
  struct State {
    State(int failing, Fault fault) : failing(failing), fault(fault) {}
    bool FailsNow() { return ++num_operations == failing && !healed; }
    absl::Status Error(absl::string_view what) const {
      return ErrnoStatus(fault == Fault::kNoSpace ? ENOSPC : EIO, what);
    }
    const int failing;
    const Fault fault;
    std::atomic<int> num_operations = 0;
    std::atomic<bool> healed = false;
  };

  class File final : public BlockFile {
   public:
    File(std::unique_ptr<BlockFile> real, std::shared_ptr<State> state)
        : real_(std::move(real)), state_(std::move(state)) {}

    void StartReads(std::vector<BlockRead> batch) override {
      for (BlockRead& read : batch) {
        if (!state_->FailsNow()) continue;
        absl::Status fault = state_->fault == Fault::kShortRead ? absl::DataLossError("short")
                                                                : state_->Error("read");
        FailAfterFirstPiece(read, std::move(fault));
      }
      real_->StartReads(std::move(batch));
    }
    void StartWrites(std::vector<BlockWrite> batch) override {
      for (BlockWrite& write : batch) {
        if (state_->FailsNow()) FailAfterFirstPiece(write, state_->Error("write"));
      }
      real_->StartWrites(std::move(batch));
    }
    absl::Status Sync() override {
      return state_->FailsNow() ? state_->Error("sync") : real_->Sync();
    }

   private:
    template <typename Part>
    static void FailAfterFirstPiece(Part& part, absl::Status fault) {
      part.pieces.resize(1);
      part.done = [fault = std::move(fault), done = std::move(part.done)](
                      const absl::Status&) mutable { std::move(done)(fault); };
    }

    std::unique_ptr<BlockFile> real_;
    std::shared_ptr<State> state_;
  };

  absl::StatusOr<std::unique_ptr<BlockFile>> Wrap(absl::StatusOr<std::unique_ptr<BlockFile>> file) {
    if (!file.ok()) return file.status();
    return std::make_unique<File>(*std::move(file), state_);
  }

  const std::shared_ptr<State> state_;
  const std::unique_ptr<BlockFileSystem> real_;
};

}  // namespace reprise::cachestore
