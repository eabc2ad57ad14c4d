// DiskStoreFixture: StoreFixture over the real disk tier, in a fresh directory that goes with the
// test.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "cachestore/base/check.h"
#include "tests/fakes/store_fixture.h"

namespace reprise::cachestore {

class DiskStoreFixture : public StoreFixture {
 protected:
  void SetUp() override {
    std::string pattern =
        (std::filesystem::temp_directory_path() / "reprise-store-XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    directory_ = pattern;
  }
  void TearDown() override {
    StoreFixture::TearDown();
    store_.reset();
    std::filesystem::remove_all(directory_);
  }

  // Opens the store on the directory, after closing the one that is open.
  void OpenOnDisk(int64_t ram_slots, int64_t disk_bytes) {
    store_.reset();
    StoreOptions options = Options(ram_slots);
    options.disk.directory = directory_.string();
    options.disk.capacity_bytes = disk_bytes;
    auto store = TieredStore::Open(options);
    ASSERT_TRUE(store.ok()) << store.status();
    store_ = *std::move(store);
    ns_ = OpenNamespace(TestIdentity());
  }

  // The payload files, in the order of their ids.
  std::vector<std::filesystem::path> PayloadFiles() const {
    std::vector<std::filesystem::path> files;
    for (const auto& entry : std::filesystem::directory_iterator(directory_)) {
      if (entry.path().extension() == ".dat") files.push_back(entry.path());
    }
    std::sort(files.begin(), files.end());
    return files;
  }

  std::filesystem::path directory_;
};

// Bytes of a file, changed in place behind the store's back.
class RawFile {
 public:
  explicit RawFile(const std::filesystem::path& path) : fd_(open(path.c_str(), O_RDWR)) {
    CHECK(fd_ >= 0);
  }
  ~RawFile() { close(fd_); }
  RawFile(const RawFile&) = delete;
  RawFile& operator=(const RawFile&) = delete;

  int64_t size() const { return lseek(fd_, 0, SEEK_END); }
  std::string Read(int64_t offset, size_t bytes) const {
    std::string text(bytes, '\0');
    CHECK(pread(fd_, text.data(), bytes, offset) == static_cast<ssize_t>(bytes));
    return text;
  }
  void Write(int64_t offset, const std::string& text) {
    CHECK(pwrite(fd_, text.data(), text.size(), offset) == static_cast<ssize_t>(text.size()));
    // The store reads past the page cache.
    CHECK(fdatasync(fd_) == 0);
  }
  void FlipBit(int64_t offset, int bit) {
    std::string byte = Read(offset, 1);
    byte[0] = static_cast<char>(byte[0] ^ (1 << bit));
    Write(offset, byte);
  }

 private:
  const int fd_;
};

}  // namespace reprise::cachestore
