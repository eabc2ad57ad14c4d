// FileIo: one read or write of an open file, and how far it has come. Plain data;
// thread-compatible.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/functional/any_invocable.h"

namespace reprise::cachestore {

struct FileIo {
  enum class Kind { kRead, kWrite };

  Kind kind = Kind::kRead;
  int fd = -1;
  uint64_t offset = 0;        // of the next byte to move
  std::vector<iovec> pieces;  // moved one after the other; none is empty
  // Called once, with the bytes moved (less than wanted: the file ended) or -errno.
  absl::AnyInvocable<void(int64_t) &&> done;

  size_t first_piece = 0;  // of those with bytes to move
  int64_t moved = 0;
};

// The kernel's answer to one try at the rest of `io`: bytes moved, or -errno. True when `io` has
// ended; *end is what its `done` gets then. False: there is a rest to try.
bool Advance(FileIo& io, int64_t answer, int64_t* end);

// The pieces of the rest, as many as one call to the kernel takes.
inline const iovec* RestPieces(const FileIo& io) { return io.pieces.data() + io.first_piece; }
int NumRestPieces(const FileIo& io);

}  // namespace reprise::cachestore
