// BlockImporter: the blocks of an exported file into the store, each verified before it is stored.
// Keys are derived anew: the store's secret is not that of the store the file is from.
// Thread-compatible.
#pragma once

#include <grpcpp/server_context.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "api/file/file_source.h"
#include "api/payload_wire.h"
#include "api/put_run.h"
#include "cachestore/block/namespace_identity.h"
#include "cachestore/store/tiered_store.h"
#include "reprise/v1/cache.pb.h"

namespace reprise::api {

class BlockImporter {
 public:
  // All must outlive the importer.
  BlockImporter(const grpc::ServerContext& context, cachestore::TieredStore* store,
                FileSource* source)
      : context_(context), store_(store), source_(source) {}

  // Whose blocks the file holds. First. BLOCKS. kInvalidArgument: not such a file;
  // kFailedPrecondition: another version or hash scheme, with both values; kDataLoss: damaged.
  absl::StatusOr<cachestore::NamespaceIdentity> ReadHeader();

  // Stores the file's blocks in `ns`, whose layout is that of the header. BLOCKS. kDataLoss: the
  // file is damaged, with the place; what came before is stored.
  absl::StatusOr<v1::ImportResponse> ReadBlocks(const cachestore::NamespaceHandle& ns);

 private:
  // A damage in what was read from byte `begin` on.
  absl::Status Damage(int64_t begin, const std::string& what) const;
  // A record behind its first byte. kDataLoss: damaged; else nothing is wrong with the file.
  absl::Status ReadBlock(const cachestore::NamespaceHandle& ns);
  absl::Status ReadEnd(int64_t begin);
  // Stores the block behind its path, or counts it as rejected.
  void Store(const cachestore::NamespaceHandle& ns, int64_t depth, const v1::PutRequest& block,
             const Payload& payload);
  void Reject(const std::string& reason);
  // Ends the run and counts what became of its blocks.
  void EndRun();

  const grpc::ServerContext& context_;
  cachestore::TieredStore* const store_;
  FileSource* const source_;
  std::vector<uint32_t> path_;  // words from the root to the last block
  std::optional<PutRun> run_;
  int64_t next_depth_ = 0;  // of a block that goes on with the run
  uint64_t num_blocks_ = 0;
  v1::ImportResponse response_;
};

}  // namespace reprise::api
