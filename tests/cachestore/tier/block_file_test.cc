// What both ways to do I/O promise, and when which one is chosen.
#include "cachestore/tier/block_file.h"

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/synchronization/notification.h"
#include "cachestore/tier/aligned_bytes.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/cachestore/tier/block_samples.h"

namespace reprise::cachestore {
namespace {

constexpr uint64_t kPage = kIoAlignment;

absl::Status WriteNow(BlockFile& file, uint64_t offset, AlignedBytes& bytes) {
  absl::Status result;
  absl::Notification done;
  std::vector<BlockWrite> batch(1);
  batch[0] = {.offset = offset, .pieces = {bytes.span()}, .done = [&](const absl::Status& status) {
                result = status;
                done.Notify();
              }};
  file.StartWrites(std::move(batch));
  done.WaitForNotification();
  return result;
}

absl::Status ReadNow(BlockFile& file, uint64_t offset, std::vector<absl::Span<std::byte>> pieces) {
  absl::Status result;
  absl::Notification done;
  std::vector<BlockRead> batch(1);
  batch[0] = {
      .offset = offset, .pieces = std::move(pieces), .done = [&](const absl::Status& status) {
        result = status;
        done.Notify();
      }};
  file.StartReads(std::move(batch));
  done.WaitForNotification();
  return result;
}

AlignedBytes Filled(size_t size, uint64_t seed) {
  AlignedBytes bytes(size);
  FillPayload({seed, seed}, bytes.span());
  return bytes;
}

class BlockFileTest : public testing::TestWithParam<IoMethod> {
 protected:
  BlockFileTest() : files_(MakePosixBlockFileSystem(GetParam())) {
    auto file = files_->Create(path(), 64 * kPage);
    CHECK(file.ok());
    file_ = *std::move(file);
  }
  std::string path() const { return directory_.path() + "/file.dat"; }

  ScratchDirectory directory_;
  std::unique_ptr<BlockFileSystem> files_;
  std::unique_ptr<BlockFile> file_;
};

TEST_P(BlockFileTest, IsDoneTheWayThatWasAskedFor) {
  EXPECT_EQ(files_->io_method(), GetParam() == IoMethod::kThreads ? "threads" : "io_uring");
}

TEST_P(BlockFileTest, ReadsBackWhatWasWrittenOverManyPiecesAndMoreReadsThanTheQueueTakes) {
  AlignedBytes written = Filled(64 * kPage, 1);
  ASSERT_TRUE(WriteNow(*file_, 0, written).ok());
  ASSERT_TRUE(file_->Sync().ok());
  std::atomic<int> good = 0;
  absl::Notification done;
  constexpr int kRounds = 10;
  std::vector<BlockRead> batch;
  std::vector<AlignedBytes> buffers;
  for (int i = 0; i < 32 * kRounds; ++i) {
    buffers.emplace_back(2 * kPage);
    const absl::Span<std::byte> bytes = buffers.back().span();
    const uint64_t offset = i % 32 * 2 * kPage;
    batch.push_back(
        {.offset = offset,
         .pieces = {bytes.first(kPage), bytes.subspan(kPage)},
         .done = [&, bytes, offset](const absl::Status& status) {
           EXPECT_TRUE(status.ok()) << status;
           EXPECT_EQ(std::memcmp(bytes.data(), written.span().data() + offset, bytes.size()), 0);
           if (++good == 32 * kRounds) done.Notify();
         }});
  }
  file_->StartReads(std::move(batch));
  done.WaitForNotification();
}

TEST_P(BlockFileTest, AReadBeyondTheEndIsDataLossThatSaysWhere) {
  AlignedBytes bytes(2 * kPage);
  const absl::Status status = ReadNow(*file_, 63 * kPage, {bytes.span()});
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << status;
  EXPECT_THAT(std::string(status.message()), testing::HasSubstr("ends after 4096 of 8192 bytes"));
}

TEST_P(BlockFileTest, AReadTheKernelRefusesIsInternalAndNamesTheCause) {
  const absl::Status status =
      ReadNow(*file_, 0, {absl::MakeSpan(reinterpret_cast<std::byte*>(4096), kPage)});
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal) << status;
  EXPECT_THAT(std::string(status.message()), testing::HasSubstr("Bad address"));
  EXPECT_THAT(std::string(status.message()), testing::HasSubstr(path()));
}

TEST_P(BlockFileTest, PostedWorkRunsOnAThreadOfTheFileSystemBeforeItEnds) {
  std::thread::id thread;
  files_->Post([&] { thread = std::this_thread::get_id(); });
  file_.reset();
  files_.reset();
  EXPECT_NE(thread, std::thread::id());
  EXPECT_NE(thread, std::this_thread::get_id());
}

INSTANTIATE_TEST_SUITE_P(Methods, BlockFileTest,
                         testing::Values(IoMethod::kBest, IoMethod::kThreads),
                         [](const auto& info) {
                           return info.param == IoMethod::kBest ? "Uring" : "Threads";
                         });

// Makes the kernel refuse io_uring_setup in this thread, as container sandboxes do.
void RefuseUring(int error) {
  sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | static_cast<uint32_t>(error)),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog program = {.len = 4, .filter = code};
  CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
  CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
}

TEST(IoMethodTest, ThreadsDoTheWorkWhereTheKernelRefusesIoUring) {
  for (const int error : {EPERM, ENOSYS}) {
    std::thread sandboxed([error] {
      RefuseUring(error);
      ScratchDirectory directory;
      const auto files = MakePosixBlockFileSystem(IoMethod::kBest);
      EXPECT_EQ(files->io_method(), "threads");
      auto file = files->Create(directory.path() + "/f", 4 * kPage);
      ASSERT_TRUE(file.ok()) << file.status();
      AlignedBytes written = Filled(4 * kPage, 2);
      EXPECT_TRUE(WriteNow(**file, 0, written).ok());
      AlignedBytes read(4 * kPage);
      EXPECT_TRUE(ReadNow(**file, 0, {read.span()}).ok());
      EXPECT_EQ(std::memcmp(read.span().data(), written.span().data(), 4 * kPage), 0);
    });
    sandboxed.join();
  }
}

}  // namespace
}  // namespace reprise::cachestore
