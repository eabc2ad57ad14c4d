#include "engine/model/safetensors.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "cachestore/base/status_macros.h"
#include "engine/model/json_object.h"

namespace reprise::engine {
namespace {

constexpr uint64_t kLengthBytes = 8;
// The limit of the reference implementation; real headers have a few hundred KB.
constexpr uint64_t kMostHeaderBytes = 100'000'000;

// Bytes per element, or nothing for a dtype the format does not know.
std::optional<uint64_t> DtypeBytes(const std::string& dtype) {
  static constexpr struct {
    const char* name;
    uint64_t bytes;
  } kDtypes[] = {{"F32", 4},     {"F16", 2}, {"BF16", 2}, {"F64", 8}, {"F8_E4M3", 1},
                 {"F8_E5M2", 1}, {"I64", 8}, {"I32", 4},  {"I16", 2}, {"I8", 1},
                 {"U64", 8},     {"U32", 4}, {"U16", 2},  {"U8", 1},  {"BOOL", 1}};
  for (const auto& known : kDtypes) {
    if (dtype == known.name) return known.bytes;
  }
  return std::nullopt;
}

// A list of integers >= 0, or an error that calls it `what`.
absl::StatusOr<std::vector<int64_t>> ReadSizes(const nlohmann::json& entry, const char* what,
                                               const std::string& where) {
  const auto it = entry.find(what);
  if (it == entry.end()) return absl::InvalidArgumentError(absl::StrCat(where, " has no ", what));
  const nlohmann::json& list = *it;
  std::vector<int64_t> sizes;
  bool good = list.is_array();
  for (size_t i = 0; good && i < list.size(); ++i) {
    good = list[i].is_number_unsigned() && list[i].get<uint64_t>() <= INT64_MAX;
    if (good) sizes.push_back(list[i].get<int64_t>());
  }
  if (!good) {
    return absl::InvalidArgumentError(
        absl::StrCat(where, " has ", what, " ", ShortDump(list), ", not a list of sizes"));
  }
  return sizes;
}

// shape x dtype in bytes. kInvalidArgument when that is over 63 bits.
absl::StatusOr<int64_t> ShapeBytes(const StoredTensor& tensor, uint64_t element_bytes,
                                   const std::string& where) {
  int64_t bytes = static_cast<int64_t>(element_bytes);
  for (const int64_t size : tensor.shape) {
    if (__builtin_mul_overflow(bytes, size, &bytes)) {
      return absl::InvalidArgumentError(
          absl::StrCat(where, " has the impossible shape ", ShapeString(tensor.shape)));
    }
  }
  return bytes;
}

absl::StatusOr<StoredTensor> ReadEntry(const nlohmann::json& entry,
                                       absl::Span<const std::byte> data, const std::string& where) {
  if (!entry.is_object()) {
    return absl::InvalidArgumentError(absl::StrCat(where, " is not described by an object"));
  }
  const auto dtype = entry.find("dtype");
  if (dtype == entry.end() || !dtype->is_string()) {
    return absl::InvalidArgumentError(absl::StrCat(where, " has no dtype"));
  }
  StoredTensor tensor;
  tensor.dtype = dtype->get<std::string>();
  const std::optional<uint64_t> element_bytes = DtypeBytes(tensor.dtype);
  if (!element_bytes) {
    return absl::InvalidArgumentError(
        absl::StrCat(where, " has the unknown dtype ", ShortDump(*dtype)));
  }
  ASSIGN_OR_RETURN(tensor.shape, ReadSizes(entry, "shape", where));
  ASSIGN_OR_RETURN(const std::vector<int64_t> offsets, ReadSizes(entry, "data_offsets", where));
  ASSIGN_OR_RETURN(const int64_t expected, ShapeBytes(tensor, *element_bytes, where));
  if (offsets.size() != 2 || offsets[0] > offsets[1]) {
    return absl::InvalidArgumentError(
        absl::StrCat(where, " has data_offsets ", ShapeString(offsets), ", not [begin, end]"));
  }
  if (offsets[1] - offsets[0] != expected) {
    return absl::InvalidArgumentError(absl::StrCat(
        where, ": ", tensor.dtype, " ", ShapeString(tensor.shape), " takes ", expected,
        " bytes, but data_offsets ", ShapeString(offsets), " hold ", offsets[1] - offsets[0]));
  }
  if (static_cast<uint64_t>(offsets[1]) > data.size()) {
    return absl::InvalidArgumentError(absl::StrCat(where, " ends at data byte ", offsets[1],
                                                   ", but the file has only ", data.size(),
                                                   " data bytes (truncated?)"));
  }
  tensor.bytes = data.subspan(offsets[0], expected);
  return tensor;
}

absl::Status CheckNoOverlap(const std::map<std::string, StoredTensor>& tensors,
                            const std::string& path) {
  std::vector<std::pair<absl::Span<const std::byte>, const std::string*>> ranges;
  for (const auto& [name, tensor] : tensors) {
    if (!tensor.bytes.empty()) ranges.emplace_back(tensor.bytes, &name);
  }
  std::sort(ranges.begin(), ranges.end(),
            [](const auto& a, const auto& b) { return a.first.data() < b.first.data(); });
  for (size_t i = 1; i < ranges.size(); ++i) {
    if (ranges[i - 1].first.end() > ranges[i].first.begin()) {
      return absl::InvalidArgumentError(absl::StrCat(path, ": tensors \"", *ranges[i - 1].second,
                                                     "\" and \"", *ranges[i].second, "\" overlap"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

int64_t StoredTensor::num_elements() const {
  int64_t count = 1;
  for (const int64_t size : shape) count *= size;
  return count;
}

absl::StatusOr<ElementType> StoredTensor::element_type(const std::string& name) const {
  if (dtype == "F32") return ElementType::kF32;
  if (dtype == "BF16") return ElementType::kBF16;
  if (dtype == "F16") return ElementType::kF16;
  return absl::InvalidArgumentError(absl::StrCat("tensor \"", name, "\" has dtype ", dtype,
                                                 "; weights must be F32, BF16 or F16"));
}

std::string ShapeString(absl::Span<const int64_t> shape) {
  return absl::StrCat("[", absl::StrJoin(shape, ", "), "]");
}

absl::StatusOr<std::unique_ptr<SafetensorsFile>> SafetensorsFile::Open(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return absl::ErrnoToStatus(errno, path);
  struct stat info = {};
  if (fstat(fd, &info) != 0) {
    const absl::Status status = absl::ErrnoToStatus(errno, path);
    close(fd);
    return status;
  }
  const uint64_t size = static_cast<uint64_t>(info.st_size);
  if (!S_ISREG(info.st_mode) || size < kLengthBytes) {
    close(fd);
    return absl::InvalidArgumentError(
        S_ISREG(info.st_mode)
            ? absl::StrCat(path, ": has ", size, " bytes; a safetensors file starts with the ",
                           kLengthBytes, " bytes of its header's length (truncated?)")
            : absl::StrCat(path, ": is not a regular file"));
  }
  void* const mapped = mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd, 0);
  const absl::Status status =
      mapped == MAP_FAILED ? absl::ErrnoToStatus(errno, path) : absl::OkStatus();
  close(fd);
  RETURN_IF_ERROR(status);
  std::unique_ptr<SafetensorsFile> file(
      new SafetensorsFile(path, absl::MakeSpan(static_cast<const std::byte*>(mapped), size)));
  RETURN_IF_ERROR(file->ReadHeader());
  return file;
}

SafetensorsFile::~SafetensorsFile() {
  munmap(const_cast<std::byte*>(mapping_.data()), mapping_.size());
}

absl::Status SafetensorsFile::ReadHeader() {
  uint64_t header_bytes = 0;  // little endian, as is every machine this builds for
  std::memcpy(&header_bytes, mapping_.data(), sizeof(header_bytes));
  if (header_bytes > kMostHeaderBytes) {
    return absl::InvalidArgumentError(absl::StrCat(path_, ": says its header has ", header_bytes,
                                                   " bytes; at most ", kMostHeaderBytes,
                                                   " are possible (not a safetensors file?)"));
  }
  if (header_bytes > mapping_.size() - kLengthBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat(path_, ": says its header has ", header_bytes, " bytes, but only ",
                     mapping_.size() - kLengthBytes, " follow (truncated?)"));
  }
  const absl::string_view text(reinterpret_cast<const char*>(mapping_.data()) + kLengthBytes,
                               header_bytes);
  ASSIGN_OR_RETURN(const JsonObject header,
                   JsonObject::Parse(text, absl::StrCat(path_, ": header")));
  const absl::Span<const std::byte> data = mapping_.subspan(kLengthBytes + header_bytes);
  for (const auto& [name, entry] : header.value().items()) {
    if (name == "__metadata__") continue;
    ASSIGN_OR_RETURN(StoredTensor tensor,
                     ReadEntry(entry, data, absl::StrCat(path_, ": tensor \"", name, "\"")));
    tensors_.emplace(name, std::move(tensor));
  }
  return CheckNoOverlap(tensors_, path_);
}

}  // namespace reprise::engine
