#include "cachestore/tier/block_file.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "cachestore/base/status_macros.h"
#include "cachestore/tier/file_io.h"
#include "cachestore/tier/io_engine.h"

namespace reprise::cachestore {
namespace {

// Threads that end reads and writes, which includes verifying what was read. XXH3 checks 10 GB/s
// per core; the second thread is for callbacks that take long.
constexpr int kUringThreads = 2;
// Each blocks in the kernel with one read or write: small ones need a deep queue.
constexpr int kBlockingThreads = 16;

std::unique_ptr<IoEngine> MakeEngine(IoMethod method) {
  if (method == IoMethod::kBest) {
    absl::StatusOr<std::unique_ptr<IoEngine>> uring = MakeUringEngine(kUringThreads);
    if (uring.ok()) return *std::move(uring);
  }
  return MakeThreadEngine(kBlockingThreads);
}

// The pieces as the kernel takes them; empty ones are left out.
template <typename Byte>
std::vector<iovec> ToIovecs(absl::Span<const absl::Span<Byte>> pieces, int64_t* total_bytes) {
  std::vector<iovec> result;
  result.reserve(pieces.size());
  for (const absl::Span<Byte>& piece : pieces) {
    if (piece.empty()) continue;
    result.push_back({const_cast<std::byte*>(piece.data()), piece.size()});
    *total_bytes += static_cast<int64_t>(piece.size());
  }
  return result;
}

class PosixBlockFile final : public BlockFile {
 public:
  PosixBlockFile(IoEngine& engine, int fd, std::string path)
      : engine_(engine), fd_(fd), path_(std::move(path)) {}
  ~PosixBlockFile() override { close(fd_); }

  void StartReads(std::vector<BlockRead> batch) override {
    Start(FileIo::Kind::kRead, batch, &PosixBlockFile::ReadStatus);
  }
  void StartWrites(std::vector<BlockWrite> batch) override {
    Start(FileIo::Kind::kWrite, batch, &PosixBlockFile::WriteStatus);
  }

  absl::Status Sync() override {
    if (fdatasync(fd_) == 0) return absl::OkStatus();
    return ErrnoStatus(errno, absl::StrCat("sync ", path_));
  }

 private:
  using StatusOf = absl::Status (PosixBlockFile::*)(uint64_t offset, int64_t wanted,
                                                    int64_t moved) const;

  template <typename Part>
  void Start(FileIo::Kind kind, std::vector<Part>& batch, StatusOf status_of) {
    std::vector<FileIo> ios;
    ios.reserve(batch.size());
    for (Part& part : batch) {
      FileIo io = {.kind = kind, .fd = fd_, .offset = part.offset};
      int64_t wanted = 0;
      io.pieces = ToIovecs(absl::MakeConstSpan(part.pieces), &wanted);
      io.done = [this, status_of, offset = part.offset, wanted,
                 done = std::move(part.done)](int64_t moved) mutable {
        std::move(done)((this->*status_of)(offset, wanted, moved));
      };
      ios.push_back(std::move(io));
    }
    engine_.Start(std::move(ios));
  }

  absl::Status ReadStatus(uint64_t offset, int64_t wanted, int64_t moved) const {
    if (moved == wanted) return absl::OkStatus();
    if (moved < 0) {
      return ErrnoStatus(static_cast<int>(-moved),
                         absl::StrCat("read ", wanted, " bytes of ", path_, " at ", offset));
    }
    return absl::DataLossError(
        absl::StrCat(path_, " ends after ", moved, " of ", wanted, " bytes at ", offset));
  }

  absl::Status WriteStatus(uint64_t offset, int64_t wanted, int64_t moved) const {
    if (moved == wanted) return absl::OkStatus();
    return ErrnoStatus(moved < 0 ? static_cast<int>(-moved) : EIO,
                       absl::StrCat("write ", wanted, " bytes to ", path_, " at ", offset));
  }

  IoEngine& engine_;
  const int fd_;
  const std::string path_;
};

// Opens an existing file past the kernel's cache, or through it where the file system refuses that.
absl::StatusOr<std::unique_ptr<BlockFile>> OpenUncached(IoEngine& engine, const std::string& path) {
  int fd = open(path.c_str(), O_RDWR | O_CLOEXEC | O_DIRECT);
  if (fd < 0 && errno == EINVAL) fd = open(path.c_str(), O_RDWR | O_CLOEXEC);
  if (fd < 0) return ErrnoStatus(errno, absl::StrCat("open ", path));
  return std::make_unique<PosixBlockFile>(engine, fd, path);
}

// Creates `path` with `bytes` reserved bytes. May leave a file behind on failure.
absl::Status CreateReserved(const std::string& path, uint64_t bytes) {
  // Not O_DIRECT: where fallocate is missing, posix_fallocate writes single bytes instead.
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0) return ErrnoStatus(errno, absl::StrCat("create ", path));
  absl::Cleanup close_fd = [fd] { close(fd); };
  const int error = posix_fallocate(fd, 0, static_cast<off_t>(bytes));
  if (error != 0) return ErrnoStatus(error, absl::StrCat("reserve ", bytes, " bytes for ", path));
  if (fsync(fd) != 0) return ErrnoStatus(errno, absl::StrCat("sync ", path));
  return absl::OkStatus();
}

std::string DirectoryOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? "." : path.substr(0, slash + 1);
}

class PosixBlockFileSystem final : public BlockFileSystem {
 public:
  explicit PosixBlockFileSystem(IoMethod method) : engine_(MakeEngine(method)) {}

  absl::StatusOr<std::unique_ptr<BlockFile>> Create(const std::string& path,
                                                    uint64_t bytes) override {
    absl::Cleanup remove_leftover = [&path] { unlink(path.c_str()); };
    RETURN_IF_ERROR(CreateReserved(path, bytes));
    RETURN_IF_ERROR(SyncDirectory(DirectoryOf(path)));
    absl::StatusOr<std::unique_ptr<BlockFile>> file = OpenUncached(*engine_, path);
    if (file.ok()) std::move(remove_leftover).Cancel();
    return file;
  }

  absl::StatusOr<std::unique_ptr<BlockFile>> Open(const std::string& path) override {
    return OpenUncached(*engine_, path);
  }

  absl::Status Remove(const std::string& path) override {
    if (unlink(path.c_str()) != 0) return ErrnoStatus(errno, absl::StrCat("remove ", path));
    return absl::OkStatus();
  }

  absl::StatusOr<std::vector<Entry>> List(const std::string& directory) override {
    DIR* dir = opendir(directory.c_str());
    if (dir == nullptr) return ErrnoStatus(errno, absl::StrCat("list ", directory));
    absl::Cleanup close_dir = [dir] { closedir(dir); };
    std::vector<Entry> entries;
    for (;;) {
      errno = 0;
      const dirent* entry = readdir(dir);
      if (entry == nullptr) break;
      struct stat info;
      if (fstatat(dirfd(dir), entry->d_name, &info, AT_SYMLINK_NOFOLLOW) != 0) {
        return ErrnoStatus(errno, absl::StrCat("stat ", directory, "/", entry->d_name));
      }
      if (!S_ISREG(info.st_mode)) continue;
      entries.push_back({entry->d_name, static_cast<uint64_t>(info.st_size)});
    }
    if (errno != 0) return ErrnoStatus(errno, absl::StrCat("list ", directory));
    return entries;
  }

  void Post(absl::AnyInvocable<void() &&> work) override { engine_->Post(std::move(work)); }
  int max_in_flight() const override { return engine_->max_in_flight(); }
  absl::string_view io_method() const override { return engine_->name(); }

 private:
  const std::unique_ptr<IoEngine> engine_;
};

}  // namespace

std::unique_ptr<BlockFileSystem> MakePosixBlockFileSystem(IoMethod method) {
  return std::make_unique<PosixBlockFileSystem>(method);
}

absl::Status ErrnoStatus(int error, absl::string_view what) {
  const std::string message = absl::StrCat(what, ": ", std::strerror(error));
  if (error == ENOSPC || error == EDQUOT) return absl::ResourceExhaustedError(message);
  return absl::InternalError(message);
}

absl::Status SyncDirectory(const std::string& directory) {
  const int fd = open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return ErrnoStatus(errno, absl::StrCat("open ", directory));
  const int result = fsync(fd);
  const int error = errno;
  close(fd);
  if (result == 0) return absl::OkStatus();
  return ErrnoStatus(error, absl::StrCat("sync ", directory));
}

}  // namespace reprise::cachestore
