// BlockSource: the blocks that a Get sends, a few at a time: those of a prompt's longest cached
// prefix, of a lease, or of keys that stand alone. Thread-compatible.
#pragma once

#include <grpcpp/server_context.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "api/prompt_content.h"
#include "api/session/session.h"
#include "cachestore/store/tiered_store.h"

namespace reprise::api {

// A block to send. Its bytes are good for as long as `pin` lives.
struct FoundBlock {
  int64_t index = 0;  // in the prompt, or of the key
  absl::Span<const std::byte> bytes;
  std::shared_ptr<const void> pin;
  const char* tier = "";  // where it was: "gpu", "ram" or "disk"
};

class BlockSource {
 public:
  virtual ~BlockSource() = default;
  // The next blocks, in order; none: there are no more. BLOCKS while they are loaded. kCancelled:
  // the call was cancelled meanwhile, or its deadline has passed.
  virtual absl::StatusOr<std::vector<FoundBlock>> Next(const grpc::ServerContext& context) = 0;
};

// The longest cached prefix of a prompt, kMaxPinnedBytes of it, or a quarter of RAM, at a time. A
// block that is missing or bad ends it.
class PrefixSource final : public BlockSource {
 public:
  // From `first_block` on. `store`, and what `prompt` was made from, must outlive the source.
  PrefixSource(cachestore::TieredStore* store, const cachestore::NamespaceHandle& ns,
               PromptContent prompt, int64_t first_block);
  absl::StatusOr<std::vector<FoundBlock>> Next(const grpc::ServerContext& context) override;

 private:
  cachestore::TieredStore* const store_;
  const cachestore::NamespaceHandle ns_;
  const PromptContent prompt_;
  const int64_t batch_;  // blocks at a time
  int64_t next_;
  bool over_ = false;
};

// Blocks that stand alone: each key is a prompt of one block. Those that are missing or bad are
// left out.
class LoneBlockSource final : public BlockSource {
 public:
  // From key `first_key` on. `store` must outlive the source.
  LoneBlockSource(cachestore::TieredStore* store, const cachestore::NamespaceHandle& ns,
                  PromptContent keys, int64_t first_key);
  absl::StatusOr<std::vector<FoundBlock>> Next(const grpc::ServerContext& context) override;

 private:
  cachestore::TieredStore* const store_;
  const cachestore::NamespaceHandle ns_;
  const PromptContent keys_;
  const int64_t batch_;
  int64_t next_;
};

// The blocks of a lease. They stay pinned until the last of them has been sent, also when the lease
// ends meanwhile.
class LeaseSource final : public BlockSource {
 public:
  // From block `first_block` of the prompt on.
  LeaseSource(std::shared_ptr<Session> session, std::string lease_id, int64_t first_block)
      : session_(std::move(session)), lease_id_(std::move(lease_id)), first_block_(first_block) {}
  // kNotFound: the lease has ended.
  absl::StatusOr<std::vector<FoundBlock>> Next(const grpc::ServerContext& context) override;

 private:
  const std::shared_ptr<Session> session_;
  const std::string lease_id_;
  const int64_t first_block_;
  bool over_ = false;
};

}  // namespace reprise::api
