// What DiskTier does while reads of its index hang: whoever starts a load does not.
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "cachestore/tier/aligned_bytes.h"
#include "cachestore/tier/block_file.h"
#include "cachestore/tier/disk_tier.h"
#include "gtest/gtest.h"
#include "rocksdb/env.h"
#include "rocksdb/file_system.h"
#include "tests/cachestore/tier/block_samples.h"

namespace reprise::cachestore {
namespace {

constexpr int64_t kCapacityBytes = int64_t{4} << 20;
constexpr uint64_t kPayloadBytes = 8192;

// Where reads of the index wait while it is closed. Thread-safe.
class Gate {
 public:
  void Close() {
    absl::MutexLock lock(&mu_);
    open_ = false;
  }
  void Open() {
    absl::MutexLock lock(&mu_);
    open_ = true;
    changed_.SignalAll();
  }
  void Pass() {
    absl::MutexLock lock(&mu_);
    ++waiting_;
    changed_.SignalAll();
    while (!open_) changed_.Wait(&mu_);
    --waiting_;
  }
  void AwaitSomebody() {
    absl::MutexLock lock(&mu_);
    while (waiting_ == 0) changed_.Wait(&mu_);
  }

 private:
  absl::Mutex mu_;
  absl::CondVar changed_;
  bool open_ ABSL_GUARDED_BY(mu_) = true;
  int waiting_ ABSL_GUARDED_BY(mu_) = 0;
};

// RocksDB's files, whose tables are read through the gate.
class GatedFileSystem final : public rocksdb::FileSystemWrapper {
 public:
  explicit GatedFileSystem(std::shared_ptr<Gate> gate)
      : FileSystemWrapper(rocksdb::FileSystem::Default()), gate_(std::move(gate)) {}
  const char* Name() const override { return "GatedFileSystem"; }

  rocksdb::IOStatus NewRandomAccessFile(const std::string& name,
                                        const rocksdb::FileOptions& options,
                                        std::unique_ptr<rocksdb::FSRandomAccessFile>* result,
                                        rocksdb::IODebugContext* debug) override {
    rocksdb::IOStatus status = target()->NewRandomAccessFile(name, options, result, debug);
    if (status.ok() && absl::EndsWith(name, ".sst")) {
      *result = std::make_unique<Table>(std::move(*result), gate_);
    }
    return status;
  }

 private:
  class Table final : public rocksdb::FSRandomAccessFileOwnerWrapper {
   public:
    Table(std::unique_ptr<rocksdb::FSRandomAccessFile> file, std::shared_ptr<Gate> gate)
        : FSRandomAccessFileOwnerWrapper(std::move(file)), gate_(std::move(gate)) {}
    rocksdb::IOStatus Read(uint64_t offset, size_t bytes, const rocksdb::IOOptions& options,
                           rocksdb::Slice* result, char* scratch,
                           rocksdb::IODebugContext* debug) const override {
      gate_->Pass();
      return FSRandomAccessFileOwnerWrapper::Read(offset, bytes, options, result, scratch, debug);
    }

   private:
    const std::shared_ptr<Gate> gate_;
  };

  const std::shared_ptr<Gate> gate_;
};

TEST(IndexHangTest, WhoStartsALoadDoesNotWaitForTheIndex) {
  ScratchDirectory directory;
  const auto gate = std::make_shared<Gate>();
  const std::unique_ptr<rocksdb::Env> env =
      rocksdb::NewCompositeEnv(std::make_shared<GatedFileSystem>(gate));
  std::vector<SampleBlock> chain = SampleChain(1, 20, kPayloadBytes);
  std::unique_ptr<BackingTier> tier;
  // Opened again, it has the records in a table.
  for (const bool first : {true, false}) {
    tier.reset();
    auto opened = OpenDiskTier({.directory = directory.path(), .capacity_bytes = kCapacityBytes},
                               MakePosixBlockFileSystem(), env.get());
    ASSERT_TRUE(opened.ok()) << opened.status();
    tier = *std::move(opened);
    if (first) {
      ASSERT_TRUE(StoreAll(*tier, chain).ok());
    }
  }
  gate->Close();
  AlignedBytes loaded(AlignUp(kPayloadBytes));
  absl::Status status = absl::UnknownError("not loaded");
  absl::Notification started;
  absl::Notification done;
  std::vector<LoadRequest> batch(1);
  batch[0] = {.block = chain[7].block(),
              .payload = loaded.span().first(kPayloadBytes),
              .done = [&](const absl::Status& end) {
                status = end;
                done.Notify();
              }};
  std::thread starter([&] {
    tier->StartLoads(std::move(batch));
    started.Notify();
  });
  gate->AwaitSomebody();
  EXPECT_TRUE(started.WaitForNotificationWithTimeout(absl::Seconds(20)));
  EXPECT_FALSE(done.HasBeenNotified());
  gate->Open();
  starter.join();
  done.WaitForNotification();
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_TRUE(LoadAndCompare(*tier, chain[7].block()).ok());
}

}  // namespace
}  // namespace reprise::cachestore
