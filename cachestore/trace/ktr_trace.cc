#include "cachestore/trace/ktr_trace.h"

#include <algorithm>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "cachestore/base/status_macros.h"
#include "cachestore/trace/gzip_text.h"

namespace reprise::cachestore {
namespace {

constexpr absl::string_view kMagic = "KTR1";

// The numbers of a file, one after the other. After an error every further one is 0.
class Reader {
 public:
  Reader(absl::string_view bytes, const std::string& name) : bytes_(bytes), name_(name) {
    at_ = kMagic.size();
  }

  // The next varint, which must be at most `most`.
  uint64_t Number(absl::string_view what, uint64_t most) {
    begin_ = at_;
    uint64_t value = 0;
    for (int shift = 0; shift < 70 && status_.ok(); shift += 7) {
      if (at_ == bytes_.size()) {
        Fail(absl::StrCat("ends inside ", what));
        return 0;
      }
      const uint64_t byte = static_cast<unsigned char>(bytes_[at_++]);
      const uint64_t group = byte & 0x7f;
      if (shift == 63 && group > 1) break;
      value |= group << shift;
      if ((byte & 0x80) != 0) continue;
      if (value > most) Fail(absl::StrCat(what, " is ", value, ", more than ", most));
      return status_.ok() ? value : 0;
    }
    Fail(absl::StrCat(what, " is no number of 64 bits"));
    return 0;
  }
  uint8_t Byte(absl::string_view what) {
    begin_ = at_;
    if (!status_.ok() || at_ == bytes_.size()) {
      Fail(absl::StrCat("ends before ", what));
      return 0;
    }
    return static_cast<uint8_t>(bytes_[at_++]);
  }
  // Something is wrong with what was read last.
  void Fail(absl::string_view cause) {
    if (!status_.ok()) return;
    status_ = absl::InvalidArgumentError(absl::StrCat(name_, ": byte ", begin_, ": ", cause));
  }

  const absl::Status& status() const { return status_; }
  size_t bytes_left() const { return bytes_.size() - at_; }

 private:
  const absl::string_view bytes_;
  const std::string& name_;
  size_t at_ = 0;
  size_t begin_ = 0;  // of what was read last
  absl::Status status_;
};

// Reads one request and adds it, with its new blocks, to the trace.
void ReadRequest(Reader& reader, uint64_t max_blocks, Trace& trace) {
  TraceRequest request;
  const int64_t before = trace.requests.empty() ? 0 : trace.requests.back().time_ms;
  constexpr uint64_t kMaxTime = uint64_t{1} << 62;
  request.time_ms = before + static_cast<int64_t>(reader.Number("dt_ms", kMaxTime - before));
  request.input_tokens = static_cast<uint32_t>(reader.Number("input_tokens", kMaxTraceTokens));
  request.output_tokens = static_cast<uint32_t>(reader.Number("output_tokens", kMaxTraceTokens));
  request.session = reader.Number("session", ~uint64_t{0});
  const uint8_t meta = reader.Byte("meta");
  if ((meta & 15) >= kNumTraceRequestTypes || meta >> 4 >= kNumTraceFinishes) {
    reader.Fail(
        absl::StrCat("meta ", static_cast<int>(meta), " has a type or finish unknown here"));
  }
  request.type = static_cast<TraceRequestType>(meta & 15);
  request.finish = static_cast<TraceFinish>(meta >> 4);
  const uint64_t anchor = reader.Number("anchor + 1", trace.num_blocks());
  if (anchor > 0) request.last = static_cast<BlockNumber>(anchor - 1);
  const uint64_t num_new = reader.Number("n_new", max_blocks - trace.num_blocks());
  if (!reader.status().ok()) return;
  for (uint64_t i = 0; i < num_new; ++i) request.last = trace.AddBlock(request.last);
  trace.requests.push_back(request);
}

}  // namespace

bool IsKtrTrace(absl::string_view bytes) { return absl::StartsWith(bytes, kMagic); }

absl::StatusOr<Trace> ParseKtrTrace(absl::string_view bytes, const std::string& name,
                                    uint64_t max_blocks) {
  if (!IsKtrTrace(bytes)) {
    return absl::InvalidArgumentError(absl::StrCat(name, ": byte 0: does not begin with KTR1"));
  }
  Reader reader(bytes, name);
  Trace trace;
  trace.name = name;
  trace.block_tokens = static_cast<int32_t>(reader.Number("block_tokens", 1 << 20));
  if (trace.block_tokens == 0) reader.Fail("block_tokens is 0");
  const uint64_t num_requests = reader.Number("n_requests", ~uint64_t{0});
  const uint64_t num_blocks = reader.Number("n_blocks", max_blocks);
  if (reader.Number("flags", ~uint64_t{0}) != 0) reader.Fail("flags are not 0: a newer format");
  constexpr size_t kLeastRequestBytes = 7;
  trace.requests.reserve(std::min(num_requests, reader.bytes_left() / kLeastRequestBytes));
  while (reader.status().ok() && trace.requests.size() < num_requests) {
    ReadRequest(reader, num_blocks, trace);
  }
  if (trace.num_blocks() != num_blocks) {
    reader.Fail(absl::StrCat("the requests have ", trace.num_blocks(), " blocks, the header says ",
                             num_blocks));
  }
  if (!reader.status().ok()) return reader.status();
  return trace;
}

absl::StatusOr<Trace> ReadKtrTrace(const std::string& path) {
  ASSIGN_OR_RETURN(const GzipText text, ReadGzipText(path));
  absl::StatusOr<Trace> trace = ParseKtrTrace(text.bytes, path);
  // Where the file ended too early, that is the cause.
  if (!trace.ok() && !text.ending.ok()) return text.ending;
  return trace;
}

}  // namespace reprise::cachestore
