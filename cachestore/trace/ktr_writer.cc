#include "cachestore/trace/ktr_writer.h"

#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "cachestore/base/check.h"
#include "cachestore/base/status_macros.h"

namespace reprise::cachestore {
namespace {

// Requests are compressed when so many bytes have come together.
constexpr size_t kPendingBytes = size_t{64} << 10;

void AppendVarint(uint64_t value, std::string& out) {
  for (; value > 0x7f; value >>= 7) out.push_back(static_cast<char>(value | 0x80));
  out.push_back(static_cast<char>(value));
}

// A varint of 10 bytes, whatever its value.
void AppendPadded(uint64_t value, std::string& out) {
  for (int i = 0; i < 9; ++i, value >>= 7) out.push_back(static_cast<char>((value & 0x7f) | 0x80));
  out.push_back(static_cast<char>(value));
}

std::string Encode(const KtrRequest& request, uint64_t dt_ms) {
  std::string out;
  AppendVarint(dt_ms, out);
  AppendVarint(request.input_tokens, out);
  AppendVarint(request.output_tokens, out);
  AppendVarint(request.session, out);
  out.push_back(
      static_cast<char>(static_cast<int>(request.type) | static_cast<int>(request.finish) << 4));
  AppendVarint(request.anchor == kNoBlockNumber ? 0 : uint64_t{request.anchor} + 1, out);
  AppendVarint(request.num_new, out);
  return out;
}

// As zlib wants it for a gzip member.
constexpr int kGzipWindow = 15 + 16;
constexpr int kMemoryLevel = 8;

}  // namespace

// A gzip stream that is begun again after each member.
struct KtrWriter::Compressor {
  explicit Compressor(int level) {
    CHECK(deflateInit2(&stream, level, Z_DEFLATED, kGzipWindow, kMemoryLevel, Z_DEFAULT_STRATEGY) ==
          Z_OK);
  }
  ~Compressor() { deflateEnd(&stream); }
  Compressor(const Compressor&) = delete;
  Compressor& operator=(const Compressor&) = delete;

  // What has to be written for `bytes`, and for the end of the member if there is one.
  std::string Compress(absl::string_view bytes, bool end_member) {
    std::string out;
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
    stream.avail_in = static_cast<uInt>(bytes.size());
    char piece[1 << 14];
    do {
      stream.next_out = reinterpret_cast<Bytef*>(piece);
      stream.avail_out = sizeof(piece);
      CHECK(deflate(&stream, end_member ? Z_FINISH : Z_NO_FLUSH) != Z_STREAM_ERROR);
      out.append(piece, sizeof(piece) - stream.avail_out);
    } while (stream.avail_out == 0);
    if (end_member) CHECK(deflateReset(&stream) == Z_OK);
    return out;
  }

  z_stream stream = {};
};

absl::StatusOr<std::unique_ptr<KtrWriter>> KtrWriter::Create(const std::string& path,
                                                             int32_t block_tokens) {
  return Open(path, block_tokens, "wb");
}

absl::StatusOr<std::unique_ptr<KtrWriter>> KtrWriter::CreateNew(const std::string& path,
                                                                int32_t block_tokens) {
  return Open(path, block_tokens, "wbx");
}

absl::StatusOr<std::unique_ptr<KtrWriter>> KtrWriter::Open(const std::string& path,
                                                           int32_t block_tokens, const char* mode) {
  CHECK(block_tokens > 0);
  std::FILE* const file = std::fopen(path.c_str(), mode);
  if (file == nullptr && errno == EEXIST) {
    return absl::AlreadyExistsError(absl::StrCat(path, " is there already"));
  }
  if (file == nullptr) {
    return absl::InternalError(absl::StrCat("cannot make ", path, ": ", std::strerror(errno)));
  }
  std::unique_ptr<KtrWriter> writer(new KtrWriter(path, block_tokens, file));
  RETURN_IF_ERROR(writer->WriteHeader());
  return writer;
}

KtrWriter::KtrWriter(std::string path, int32_t block_tokens, std::FILE* file)
    : path_(std::move(path)),
      block_tokens_(block_tokens),
      file_(file),
      compressor_(std::make_unique<Compressor>(Z_DEFAULT_COMPRESSION)) {}

KtrWriter::~KtrWriter() { Close().IgnoreError(); }

void KtrWriter::SetBlockTokens(int32_t block_tokens) {
  CHECK(block_tokens > 0 && num_requests_ == 0);
  block_tokens_ = block_tokens;
}

absl::Status KtrWriter::Append(const KtrRequest& request) {
  CHECK(file_ != nullptr);
  CHECK(request.anchor == kNoBlockNumber || request.anchor < num_blocks_);
  RETURN_IF_ERROR(failure_);
  const int64_t time_ms = std::max(request.time_ms, last_time_ms_);
  pending_ += Encode(request, static_cast<uint64_t>(time_ms - last_time_ms_));
  last_time_ms_ = time_ms;
  ++num_requests_;
  num_blocks_ += request.num_new;
  return pending_.size() < kPendingBytes ? absl::OkStatus() : Compress(false);
}

absl::Status KtrWriter::Flush() {
  CHECK(file_ != nullptr);
  if (num_requests_ == num_flushed_) return failure_;
  RETURN_IF_ERROR(Compress(true));
  // The counts come after what they count: a reader of any moment finds a whole trace.
  if (std::fflush(file_) != 0) return failure_ = WriteError();
  RETURN_IF_ERROR(WriteHeader());
  num_flushed_ = num_requests_;
  return absl::OkStatus();
}

absl::Status KtrWriter::Close() {
  if (file_ == nullptr) return failure_;
  absl::Status status = Flush();
  if (std::fclose(std::exchange(file_, nullptr)) != 0 && status.ok()) status = WriteError();
  return failure_ = std::move(status);
}

absl::Status KtrWriter::WriteHeader() {
  RETURN_IF_ERROR(failure_);
  std::string header = "KTR1";
  AppendPadded(static_cast<uint64_t>(block_tokens_), header);
  AppendPadded(num_requests_, header);
  AppendPadded(num_blocks_, header);
  AppendPadded(0, header);
  const std::string member = Compressor(Z_NO_COMPRESSION).Compress(header, true);
  if (file_bytes_ > 0 && std::fseek(file_, 0, SEEK_SET) != 0) return failure_ = WriteError();
  RETURN_IF_ERROR(WriteAll(member));
  if (std::fflush(file_) != 0 || std::fseek(file_, 0, SEEK_END) != 0) {
    return failure_ = WriteError();
  }
  file_bytes_ = std::ftell(file_);
  return absl::OkStatus();
}

absl::Status KtrWriter::Compress(bool end_member) {
  RETURN_IF_ERROR(failure_);
  RETURN_IF_ERROR(WriteAll(compressor_->Compress(pending_, end_member)));
  pending_.clear();
  return absl::OkStatus();
}

absl::Status KtrWriter::WriteAll(absl::string_view bytes) {
  if (std::fwrite(bytes.data(), 1, bytes.size(), file_) != bytes.size()) {
    return failure_ = WriteError();
  }
  file_bytes_ += static_cast<int64_t>(bytes.size());
  return absl::OkStatus();
}

absl::Status KtrWriter::WriteError() const {
  return absl::InternalError(absl::StrCat("cannot write ", path_, ": ", std::strerror(errno)));
}

absl::Status WriteKtrTrace(const Trace& trace, const std::string& path) {
  ASSIGN_OR_RETURN(const std::unique_ptr<KtrWriter> writer,
                   KtrWriter::Create(path, trace.block_tokens));
  for (const TraceRequest& request : trace.requests) {
    KtrRequest written = {.time_ms = request.time_ms,
                          .input_tokens = request.input_tokens,
                          .output_tokens = request.output_tokens,
                          .session = request.session,
                          .type = request.type,
                          .finish = request.finish,
                          .anchor = request.last};
    // Its own blocks are those with the next free numbers.
    while (written.anchor != kNoBlockNumber && written.anchor >= writer->num_blocks()) {
      ++written.num_new;
      written.anchor = trace.parents[written.anchor];
    }
    RETURN_IF_ERROR(writer->Append(written));
  }
  return writer->Close();
}

}  // namespace reprise::cachestore
