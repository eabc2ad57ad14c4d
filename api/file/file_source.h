// FileSource: the bytes of a file that comes as FileChunks, and where in it one is.
// Thread-compatible.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/functional/function_ref.h"
#include "cachestore/base/hash.h"

namespace reprise::api {

class FileSource {
 public:
  // Gives the next piece; false: there are no more. Must outlive the source.
  using Pieces = absl::FunctionRef<bool(std::string* piece)>;
  explicit FileSource(Pieces pieces) : pieces_(pieces) {}

  // Appends the next `size` bytes to `to`; false: the file ends before. BLOCKS.
  bool Read(size_t size, std::string* to);
  // Whether there is nothing more. BLOCKS.
  bool AtEnd();
  // Bytes read, and the XXH3-64 of them.
  int64_t position() const { return position_; }
  uint64_t hash() const { return hash_.hash(); }

 private:
  Pieces pieces_;
  std::string piece_;
  size_t at_ = 0;  // in the piece
  int64_t position_ = 0;
  cachestore::StreamHash64 hash_;
};

}  // namespace reprise::api
