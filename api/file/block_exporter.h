// BlockExporter: cached blocks of a namespace as a file, in pieces. Thread-compatible.
#pragma once

#include <grpcpp/server_context.h>

#include <cstdint>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "api/block_source.h"
#include "cachestore/base/hash.h"
#include "cachestore/store/tiered_store.h"

namespace reprise::api {

class BlockExporter {
 public:
  // Takes the next piece of the file, kFileChunkBytes at most; false: it takes no more.
  using Sink = absl::FunctionRef<bool(std::string piece)>;

  // `identity` is the namespace's canonical encoding. All must outlive the exporter.
  BlockExporter(const grpc::ServerContext& context, cachestore::TieredStore* store,
                const cachestore::NamespaceHandle& ns, absl::string_view identity, Sink sink);

  // The whole file: all blocks of the namespace, or the longest cached prefix of `prompt`. Returns
  // how many blocks there were. BLOCKS. kCancelled: the sink takes no more, or the call is over.
  absl::StatusOr<int64_t> ExportNamespace();
  absl::StatusOr<int64_t> ExportPrefix(const PromptContent& prompt);

 private:
  // Blocks in a row, each the parent of the next, the first one behind `path`'s other blocks.
  struct Run {
    std::vector<uint32_t> path;  // words from the root to the last block of the run
    int64_t first_depth = 0;
    int64_t count = 0;
  };

  absl::Status Append(absl::string_view bytes);
  absl::Status AddBlock(int64_t depth, absl::Span<const uint32_t> words,
                        absl::Span<const std::byte> payload);
  // Writes what of the run is still there; returns the depth of its first block that is not, or -1.
  absl::StatusOr<int64_t> WriteRun(const Run& run);
  absl::StatusOr<int64_t> Finish();
  absl::Status Flush();

  const grpc::ServerContext& context_;
  cachestore::TieredStore* const store_;
  const cachestore::NamespaceHandle ns_;
  Sink sink_;
  std::string header_;
  std::string piece_;
  cachestore::StreamHash64 hash_;  // of all that was appended
  int64_t num_blocks_ = 0;
};

}  // namespace reprise::api
