#include "api/file/file_source.h"

#include <algorithm>

#include "absl/strings/string_view.h"
#include "api/file/block_file_format.h"

namespace reprise::api {

bool FileSource::AtEnd() {
  while (at_ == piece_.size()) {
    at_ = 0;
    piece_.clear();
    if (!pieces_(&piece_)) return true;
  }
  return false;
}

bool FileSource::Read(size_t size, std::string* to) {
  to->reserve(to->size() + size);
  while (size > 0) {
    if (AtEnd()) return false;
    const absl::string_view part = absl::string_view(piece_).substr(at_, size);
    hash_.Add(BytesOf(part));
    to->append(part.data(), part.size());
    at_ += part.size();
    size -= part.size();
    position_ += static_cast<int64_t>(part.size());
  }
  return true;
}

}  // namespace reprise::api
