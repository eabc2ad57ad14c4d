#include "cachestore/tier/file_io.h"

#include <limits.h>

#include <algorithm>
#include <cerrno>

namespace reprise::cachestore {

bool Advance(FileIo& io, int64_t answer, int64_t* end) {
  if (answer == -EINTR || answer == -EAGAIN) return false;
  if (answer < 0) {
    *end = answer;
    return true;
  }
  io.moved += answer;
  io.offset += static_cast<uint64_t>(answer);
  for (size_t left = static_cast<size_t>(answer); left > 0;) {
    iovec& piece = io.pieces[io.first_piece];
    const size_t step = std::min(left, piece.iov_len);
    piece.iov_base = static_cast<char*>(piece.iov_base) + step;
    piece.iov_len -= step;
    left -= step;
    if (piece.iov_len == 0) ++io.first_piece;
  }
  *end = io.moved;
  return answer == 0 || io.first_piece == io.pieces.size();
}

int NumRestPieces(const FileIo& io) {
  return static_cast<int>(std::min<size_t>(io.pieces.size() - io.first_piece, IOV_MAX));
}

}  // namespace reprise::cachestore
