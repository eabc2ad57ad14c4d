#include "cachestore/tier/disk_directory.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "cachestore/base/status_macros.h"
#include "cachestore/tier/block_file.h"

namespace reprise::cachestore {
namespace {

constexpr char kFormatName[] = "FORMAT";
constexpr char kFormatDraftName[] = "FORMAT.tmp";
constexpr absl::string_view kFormatPrefix = "reprise-disk-tier ";
constexpr size_t kMaxFormatBytes = 64;

absl::Status Refused(const std::string& path, absl::string_view why) {
  return absl::FailedPreconditionError(absl::StrCat("disk tier directory ", path, ": ", why));
}

// The contents of a small file; kNotFound when there is none.
absl::StatusOr<std::string> ReadSmallFile(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0 && errno == ENOENT) return absl::NotFoundError(path);
  if (fd < 0) return ErrnoStatus(errno, absl::StrCat("open ", path));
  absl::Cleanup close_fd = [fd] { close(fd); };
  std::string text(kMaxFormatBytes, '\0');
  const ssize_t bytes = read(fd, text.data(), text.size());
  if (bytes < 0) return ErrnoStatus(errno, absl::StrCat("read ", path));
  text.resize(bytes);
  return text;
}

// Creates `path`/FORMAT durably and at once: a crash leaves it whole or absent.
absl::Status WriteFormat(const std::string& path) {
  const std::string draft = absl::StrCat(path, "/", kFormatDraftName);
  const std::string text = absl::StrCat(kFormatPrefix, kDiskFormatVersion, "\n");
  const int fd = open(draft.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0) return ErrnoStatus(errno, absl::StrCat("create ", draft));
  absl::Cleanup close_fd = [fd] { close(fd); };
  errno = ENOSPC;  // what a short write of a few bytes means
  if (write(fd, text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
    return ErrnoStatus(errno, absl::StrCat("write ", draft));
  }
  if (fsync(fd) != 0) return ErrnoStatus(errno, absl::StrCat("sync ", draft));
  if (rename(draft.c_str(), absl::StrCat(path, "/", kFormatName).c_str()) != 0) {
    return ErrnoStatus(errno, absl::StrCat("rename ", draft));
  }
  return SyncDirectory(path);
}

// Leaves `reason` beside an index that was set aside, for people.
absl::Status WriteReason(const std::string& path, absl::string_view reason) {
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0) return ErrnoStatus(errno, absl::StrCat("create ", path));
  absl::Cleanup close_fd = [fd] { close(fd); };
  const std::string text = absl::StrCat(reason, "\n");
  if (write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size())) {
    return absl::OkStatus();
  }
  return ErrnoStatus(errno, absl::StrCat("write ", path));
}

// OK when nothing is in `path` but what a set-up that was cut short, or mkfs, leaves there.
absl::Status CheckEmpty(const std::string& path) {
  std::error_code error;
  for (std::filesystem::directory_iterator it(path, error), end; !error && it != end;
       it.increment(error)) {
    const std::string name = it->path().filename().string();
    if (name == kFormatDraftName || name == "lost+found") continue;
    return Refused(path, absl::StrCat("is not empty and not a disk tier: it holds ", name,
                                      " and no ", kFormatName));
  }
  if (error) return Refused(path, absl::StrCat("cannot be listed: ", error.message()));
  return absl::OkStatus();
}

absl::Status CheckFormat(const std::string& path, absl::string_view text) {
  absl::string_view digits = text;
  int64_t version = 0;
  if (!absl::ConsumePrefix(&digits, kFormatPrefix) || !absl::ConsumeSuffix(&digits, "\n") ||
      !absl::SimpleAtoi(digits, &version)) {
    return Refused(path, absl::StrCat(kFormatName, " holds \"", absl::CHexEscape(text),
                                      "\", expected \"", kFormatPrefix, kDiskFormatVersion, "\""));
  }
  if (version != kDiskFormatVersion) {
    return Refused(path,
                   absl::StrCat("is of format version ", version,
                                "; this build reads and writes version ", kDiskFormatVersion));
  }
  return absl::OkStatus();
}

// Makes the directory `fd` accessible to its owner alone: the index holds token ids of prompts.
absl::Status RestrictToOwner(const std::string& path, int fd) {
  struct stat info;
  if (fstat(fd, &info) != 0) return ErrnoStatus(errno, absl::StrCat("stat ", path));
  if ((info.st_mode & S_ISVTX) != 0) return Refused(path, "is a directory for files of all users");
  if ((info.st_mode & 07777) == 0700 || fchmod(fd, 0700) == 0) return absl::OkStatus();
  return Refused(path, absl::StrCat("cannot be closed to other users: ", std::strerror(errno)));
}

}  // namespace

DiskDirectory::DiskDirectory(std::string path, int locked_fd)
    : path_(std::move(path)), locked_fd_(locked_fd) {}

DiskDirectory::~DiskDirectory() { close(locked_fd_); }

absl::StatusOr<std::unique_ptr<DiskDirectory>> DiskDirectory::Open(const std::string& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error == std::errc::no_space_on_device) {
    return absl::ResourceExhaustedError(absl::StrCat("create ", path, ": ", error.message()));
  }
  if (error) return Refused(path, absl::StrCat("cannot be created: ", error.message()));
  const int fd = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return Refused(path, absl::StrCat("cannot be opened: ", std::strerror(errno)));
  std::unique_ptr<DiskDirectory> directory(new DiskDirectory(path, fd));
  if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK) return Refused(path, "is in use by another store");
    return Refused(path, absl::StrCat("cannot be locked: ", std::strerror(errno)));
  }
  absl::StatusOr<std::string> format = ReadSmallFile(absl::StrCat(path, "/", kFormatName));
  if (format.ok()) {
    RETURN_IF_ERROR(CheckFormat(path, *format));
    RETURN_IF_ERROR(directory->MakePrivate());
    return directory;
  }
  if (!absl::IsNotFound(format.status())) return Refused(path, format.status().message());
  RETURN_IF_ERROR(CheckEmpty(path));
  RETURN_IF_ERROR(directory->MakePrivate());
  RETURN_IF_ERROR(WriteFormat(path));
  return directory;
}

absl::Status DiskDirectory::MakePrivate() const {
  RETURN_IF_ERROR(RestrictToOwner(path_, locked_fd_));
  if (mkdir(index_path().c_str(), 0700) != 0 && errno != EEXIST) {
    return ErrnoStatus(errno, absl::StrCat("create ", index_path()));
  }
  const int fd = open(index_path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return Refused(index_path(), std::strerror(errno));
  absl::Cleanup close_fd = [fd] { close(fd); };
  return RestrictToOwner(index_path(), fd);
}

absl::StatusOr<std::string> DiskDirectory::SetIndexAside(absl::string_view reason) const {
  for (int number = 1;; ++number) {
    const std::string aside = absl::StrCat(path_, "/index.corrupt-", number);
    if (access(aside.c_str(), F_OK) == 0) continue;
    if (rename(index_path().c_str(), aside.c_str()) != 0) {
      return ErrnoStatus(errno, absl::StrCat("rename ", index_path(), " to ", aside));
    }
    RETURN_IF_ERROR(SyncDirectory(path_));
    WriteReason(absl::StrCat(aside, "/REASON"), reason).IgnoreError();  // no reason to stay closed
    RETURN_IF_ERROR(MakePrivate());
    return aside;
  }
}

absl::StatusOr<int64_t> DiskDirectory::FileSystemBytes() const {
  struct statvfs info;
  if (fstatvfs(locked_fd_, &info) != 0) return ErrnoStatus(errno, absl::StrCat("statvfs ", path_));
  return static_cast<int64_t>(info.f_frsize * info.f_blocks);
}

}  // namespace reprise::cachestore
