// Trace files of any format that is known, compressed or not.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "cachestore/trace/trace.h"

namespace reprise::bench {

// The trace in `path`, named after the file without its folders and extensions. Which format it is,
// its contents tell: KTR1 (ktr_trace.h), or JSON lines (trace_lines.h), of which request logs get
// blocks of `log_block_tokens`. kNotFound, kInternal: it cannot be opened; kInvalidArgument,
// kDataLoss: names the file, the place and the cause.
absl::StatusOr<cachestore::Trace> ReadTraceFile(const std::string& path, int32_t log_block_tokens);

}  // namespace reprise::bench
