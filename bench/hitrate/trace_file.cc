#include "bench/hitrate/trace_file.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "bench/hitrate/trace_lines.h"
#include "cachestore/base/status_macros.h"
#include "cachestore/trace/gzip_text.h"
#include "cachestore/trace/ktr_trace.h"

namespace reprise::bench {
namespace {

std::string NameOf(absl::string_view path) {
  const size_t folder_end = path.find_last_of('/');
  if (folder_end != absl::string_view::npos) path.remove_prefix(folder_end + 1);
  return std::string(path.substr(0, path.find('.', 1)));
}

absl::StatusOr<cachestore::Trace> Parse(absl::string_view bytes, const std::string& path,
                                        int32_t log_block_tokens) {
  if (cachestore::IsKtrTrace(bytes)) return cachestore::ParseKtrTrace(bytes, path);
  return ParseTraceLines(bytes, path, log_block_tokens);
}

}  // namespace

absl::StatusOr<cachestore::Trace> ReadTraceFile(const std::string& path, int32_t log_block_tokens) {
  ASSIGN_OR_RETURN(const cachestore::GzipText text, cachestore::ReadGzipText(path));
  absl::StatusOr<cachestore::Trace> trace = Parse(text.bytes, path, log_block_tokens);
  // Where the file ended too early, that is the cause.
  if (!trace.ok()) return text.ending.ok() ? trace.status() : text.ending;
  if (trace->num_blocks() == 0) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": the trace has no blocks"));
  }
  trace->name = NameOf(path);
  return trace;
}

}  // namespace reprise::bench
