#include "cachestore/tier/file_io.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <numeric>
#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace reprise::cachestore {
namespace {

// A read into three pieces of a "file" of `file_bytes` bytes, `step` bytes at a time.
struct SteppedRead {
  explicit SteppedRead(size_t file_bytes, size_t step) : file(file_bytes, '\0') {
    std::iota(file.begin(), file.end(), 0);
    io.kind = FileIo::Kind::kRead;
    for (std::string* piece : {&a, &b, &c}) io.pieces.push_back({piece->data(), piece->size()});
    while (!Advance(io, Try(step), &end)) ++retries;
  }

  // What the kernel does: fills the rest's pieces in order.
  int64_t Try(size_t step) {
    size_t left = std::min(step, file.size() - std::min<size_t>(io.offset, file.size()));
    const size_t moved = left;
    const char* from = file.data() + io.offset;
    for (int i = 0; i < NumRestPieces(io) && left > 0; ++i) {
      const size_t part = std::min(left, RestPieces(io)[i].iov_len);
      std::memcpy(RestPieces(io)[i].iov_base, from, part);
      from += part;
      left -= part;
    }
    return static_cast<int64_t>(moved - left);
  }

  std::string file, a = std::string(10, '?'), b = std::string(3, '?'), c = std::string(7, '?');
  FileIo io;
  int64_t end = 0;
  int retries = 0;
};

TEST(FileIoTest, AnyStepFillsAllPiecesInOrder) {
  for (size_t step = 1; step <= 20; ++step) {
    SCOPED_TRACE(step);
    const SteppedRead read(30, step);
    EXPECT_EQ(read.end, 20);
    EXPECT_EQ(read.a + read.b + read.c, read.file.substr(0, 20));
    EXPECT_EQ(read.retries, static_cast<int>((20 + step - 1) / step) - 1);
  }
}

TEST(FileIoTest, TheEndOfTheFileEndsIt) {
  const SteppedRead read(12, 5);
  EXPECT_EQ(read.end, 12);
  EXPECT_EQ((read.a + read.b + read.c).substr(0, 12), read.file);
}

TEST(FileIoTest, InterruptionsAreTriedAgainAndErrorsEndIt) {
  FileIo io;
  char byte = 0;
  io.pieces = {{&byte, 1}};
  int64_t end = 0;
  EXPECT_FALSE(Advance(io, -EINTR, &end));
  EXPECT_FALSE(Advance(io, -EAGAIN, &end));
  EXPECT_EQ(NumRestPieces(io), 1);
  EXPECT_TRUE(Advance(io, -EIO, &end));
  EXPECT_EQ(end, -EIO);
}

}  // namespace
}  // namespace reprise::cachestore
