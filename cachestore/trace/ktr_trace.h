// KTR1: traces of prefix blocks as compact files, compressed with gzip.
//
//     file    = header, request...                    (after decompression)
//     header  = "KTR1", block_tokens, n_requests, n_blocks, flags (0)
//     request = dt_ms, input_tokens, output_tokens, session (0: unknown), meta, anchor + 1, n_new
//
// Every number is an unsigned LEB128 varint of at most 10 bytes, which may be padded with zero
// groups. meta is one byte: TraceRequestType in its low half, TraceFinish in its high half. The
// chain of a request is the path from its root to block `anchor` (0 stands for none), and behind it
// n_new blocks that nobody had before, with the next free numbers. dt_ms: since the request before.
// With 0 input tokens nothing is looked up: the blocks are what an answer leaves behind.
//
// A request at 7 ms of 1,000 input and 20 output tokens in 512-token blocks, session 3, chat, ended
// a turn, nothing before it, 2 new blocks:
//
//     07  e8 07  14  03  24  00  02
//
// A writer that was cut off (ktr_writer.h) leaves a header with the counts of its last Flush; what
// is behind them is not read.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "cachestore/trace/trace.h"

namespace reprise::cachestore {

inline constexpr uint64_t kMaxTraceBlocks = uint64_t{1} << 31;
// Tokens of one request's input, and of its output.
inline constexpr uint64_t kMaxTraceTokens = uint64_t{1} << 31;

// The trace in the file, named after it. kNotFound, kInternal: the file cannot be opened;
// kInvalidArgument, kDataLoss: it is no such trace, or is damaged; names the file, the byte of its
// decompressed contents, and the cause.
absl::StatusOr<Trace> ReadKtrTrace(const std::string& path);

// The same of decompressed contents. `name` is what errors call it.
absl::StatusOr<Trace> ParseKtrTrace(absl::string_view bytes, const std::string& name,
                                    uint64_t max_blocks = kMaxTraceBlocks);

// Whether the contents begin as those of a KTR1 file do.
bool IsKtrTrace(absl::string_view bytes);

}  // namespace reprise::cachestore
