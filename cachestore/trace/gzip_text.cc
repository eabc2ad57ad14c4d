#include "cachestore/trace/gzip_text.h"

#include <zlib.h>

#include <cerrno>
#include <cstring>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"

namespace reprise::cachestore {

absl::StatusOr<GzipText> ReadGzipText(const std::string& path) {
  gzFile file = gzopen(path.c_str(), "rb");
  if (file == nullptr) {
    const int error = errno;
    const std::string cause = absl::StrCat("cannot open ", path, ": ", std::strerror(error));
    return error == ENOENT ? absl::NotFoundError(cause) : absl::InternalError(cause);
  }
  const absl::Cleanup close = [file] { gzclose_r(file); };
  GzipText text;
  constexpr size_t kPiece = size_t{1} << 20;
  while (true) {
    const size_t begin = text.bytes.size();
    text.bytes.resize(begin + kPiece);
    const int got = gzread(file, text.bytes.data() + begin, kPiece);
    text.bytes.resize(begin + (got > 0 ? static_cast<size_t>(got) : 0));
    if (got == static_cast<int>(kPiece)) continue;
    int error = Z_OK;
    const char* const cause = gzerror(file, &error);
    if (error != Z_OK) {
      text.ending = absl::DataLossError(absl::StrCat(
          path, " cannot be read beyond byte ", text.bytes.size(), " of its contents: ", cause));
    }
    if (got <= 0 || error != Z_OK) return text;
  }
}

}  // namespace reprise::cachestore
