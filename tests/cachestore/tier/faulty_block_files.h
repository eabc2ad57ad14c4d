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

 private:
  struct State {
    State(int failing, Fault fault) : failing(failing), fault(fault) {}
    bool FailsNow() { return !healed && ++num_operations == failing; }
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

    absl::Status Write(uint64_t offset,
                       absl::Span<const absl::Span<const std::byte>> pieces) override {
      if (!state_->FailsNow()) return real_->Write(offset, pieces);
      real_->Write(offset, pieces.first(1)).IgnoreError();
      return state_->Error("write");
    }
    absl::Status Read(uint64_t offset, absl::Span<const absl::Span<std::byte>> pieces) override {
      if (!state_->FailsNow()) return real_->Read(offset, pieces);
      if (state_->fault != Fault::kShortRead) return state_->Error("read");
      real_->Read(offset, pieces.first(1)).IgnoreError();
      return absl::DataLossError("short read");
    }
    absl::Status Sync() override {
      return state_->FailsNow() ? state_->Error("sync") : real_->Sync();
    }

   private:
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
