// DirectDisk: what the disk gives to a program that only reads and writes: O_DIRECT on one
// preallocated file that was written before, by as many threads as there are requests under way.
// The limit of the disk tier. Thread-compatible.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "bench/synthetic.h"

namespace reprise::bench {

class DirectDisk {
 public:
  // Writes a file of `file_bytes` in `directory`; it goes with the object. BLOCKS.
  static absl::StatusOr<std::unique_ptr<DirectDisk>> Create(const std::string& directory,
                                                            int64_t file_bytes);
  ~DirectDisk();
  DirectDisk(const DirectDisk&) = delete;
  DirectDisk& operator=(const DirectDisk&) = delete;

  // Seconds to read `total_bytes` in blocks of `block_bytes`, `depth` at a time: runs of
  // `run_blocks` consecutive blocks at random places, as the blocks of a prefix lie on disk.
  absl::StatusOr<double> ReadSeconds(int64_t block_bytes, int64_t run_blocks, int64_t total_bytes,
                                     int depth);
  // Seconds to overwrite `total_bytes` in blocks of `block_bytes`, one after the other, `depth` at
  // a time, and to make them durable.
  absl::StatusOr<double> WriteSeconds(int64_t block_bytes, int64_t total_bytes, int depth);

 private:
  DirectDisk(std::string path, int fd, int64_t file_bytes)
      : path_(std::move(path)), fd_(fd), file_bytes_(file_bytes) {}

  const std::string path_;
  const int fd_;
  const int64_t file_bytes_;
  int64_t write_at_ = 0;
  Random random_{5};
};

}  // namespace reprise::bench
