// KtrWriter: writes KTR1 files (ktr_trace.h) request by request, as a server sees them come.
//
// The header lies in a gzip member of its own, not compressed and of padded numbers, so that it
// keeps its size and its counts can be written again; the requests follow in a member per Flush.
#pragma once

#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "cachestore/trace/trace.h"

namespace reprise::cachestore {

// One request, in the words of the format.
struct KtrRequest {
  int64_t time_ms = 0;  // one that goes back counts as that of the request before
  uint32_t input_tokens = 0;
  uint32_t output_tokens = 0;
  uint64_t session = 0;
  TraceRequestType type = TraceRequestType::kUnknown;
  TraceFinish finish = TraceFinish::kUnknown;
  BlockNumber anchor = kNoBlockNumber;  // the last block of the chain that is not new
  uint32_t num_new = 0;                 // numbers from KtrWriter::num_blocks() on
};

// Thread-compatible.
class KtrWriter {
 public:
  // Makes the file, in place of what is there. kInternal: names the cause.
  static absl::StatusOr<std::unique_ptr<KtrWriter>> Create(const std::string& path,
                                                           int32_t block_tokens);
  // The same of a new file; kAlreadyExists: something is there, and stays as it is.
  static absl::StatusOr<std::unique_ptr<KtrWriter>> CreateNew(const std::string& path,
                                                              int32_t block_tokens);
  ~KtrWriter();  // as Close, and nobody hears of errors
  KtrWriter(const KtrWriter&) = delete;
  KtrWriter& operator=(const KtrWriter&) = delete;

  // In the file with the next Flush. REQUIRES: there is no request yet.
  void SetBlockTokens(int32_t block_tokens);
  // Adds a request. REQUIRES: not closed; the anchor is a block of the trace. kInternal: a write
  // failed; then every later call fails too.
  absl::Status Append(const KtrRequest& request);
  // All requests up to here are in the file for whoever reads it, and outlive this process. Costs
  // some compression: not after every request.
  absl::Status Flush();
  // Flush, and no more requests.
  absl::Status Close();

  uint64_t num_requests() const { return num_requests_; }
  uint64_t num_blocks() const { return num_blocks_; }
  // Bytes of the file, as far as requests were compressed.
  int64_t file_bytes() const { return file_bytes_; }

 private:
  struct Compressor;
  KtrWriter(std::string path, int32_t block_tokens, std::FILE* file);
  // `mode` is fopen's.
  static absl::StatusOr<std::unique_ptr<KtrWriter>> Open(const std::string& path,
                                                         int32_t block_tokens, const char* mode);
  absl::Status WriteHeader();
  // Compresses `pending_` to the file; ends the gzip member if asked to.
  absl::Status Compress(bool end_member);
  absl::Status WriteAll(absl::string_view bytes);
  absl::Status WriteError() const;

  const std::string path_;
  int32_t block_tokens_;
  std::FILE* file_;  // null: closed
  std::unique_ptr<Compressor> compressor_;
  std::string pending_;   // encoded requests, not compressed yet
  absl::Status failure_;  // of the first write that failed
  int64_t last_time_ms_ = 0;
  uint64_t num_requests_ = 0;
  uint64_t num_flushed_ = 0;  // of them
  uint64_t num_blocks_ = 0;
  int64_t file_bytes_ = 0;
};

// Writes the trace to `path`, in place of what is there. kInternal: the file cannot be written.
absl::Status WriteKtrTrace(const Trace& trace, const std::string& path);

}  // namespace reprise::cachestore
