// BlockSource: the blocks that a Get sends, a batch at a time: those of a prompt's longest cached
// prefix, of a lease, or of keys that stand alone. Never blocks. Thread-compatible.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "api/prompt_content.h"
#include "api/session/session.h"
#include "cachestore/store/tiered_store.h"

namespace reprise::api {

// A block to send. Its bytes are good for as long as `pin` lives.
struct FoundBlock {
  int64_t index = 0;  // in the prompt, or of the key
  absl::Span<const std::byte> bytes;
  std::optional<uint64_t> payload_hash;  // XXH3-64, where it is known
  std::shared_ptr<const void> pin;
  const char* tier = "";  // where it was: "gpu", "ram" or "disk"
};

class BlockSource {
 public:
  virtual ~BlockSource() = default;
  // Most bytes that the next batch holds in RAM.
  virtual int64_t batch_bytes() const = 0;
  // Nothing comes behind what was taken.
  virtual bool over() const = 0;
  // Begins to find the next batch. `on_ready` runs once when that has ended, on any thread,
  // possibly before this returns or when the source is gone; it must call neither the store nor the
  // source. REQUIRES: not over(). A source may be destroyed while it finds a batch.
  virtual void Begin(std::function<void()> on_ready) = 0;
  // The batch, in order; it may be empty. Once after each Begin, when it has ended.
  virtual absl::StatusOr<std::vector<FoundBlock>> Take() = 0;
};

// Blocks of a namespace, as many at a time as a client has shown that it reads: one at first, then
// twice as many each time. So one that reads nothing holds little.
struct BatchSize {
  // At most kMaxPinnedBytes, of a small RAM a quarter, so that one reader does not stand in the way
  // of its own loads.
  BatchSize(const cachestore::TieredStore& store, const cachestore::NamespaceHandle& ns);
  void Grow();

  int64_t block_bytes;
  int64_t most_blocks;
  int64_t blocks = 1;
};

// The longest cached prefix of a prompt. A block that is missing or bad ends it.
class PrefixSource final : public BlockSource {
 public:
  // From `first_block` on; blocks that are not loaded by `deadline` are missing. `store`, and what
  // `prompt` was made from, must outlive the source.
  // With `hints` the whole prompt is told of as used when the first batch is begun.
  PrefixSource(cachestore::TieredStore* store, const cachestore::NamespaceHandle& ns,
               PromptContent prompt, int64_t first_block, absl::Time deadline,
               std::optional<cachestore::RequestHints> hints);
  int64_t batch_bytes() const override { return batch_.blocks * batch_.block_bytes; }
  bool over() const override { return over_; }
  void Begin(std::function<void()> on_ready) override;
  absl::StatusOr<std::vector<FoundBlock>> Take() override;

 private:
  cachestore::TieredStore* const store_;
  const cachestore::NamespaceHandle ns_;
  const PromptContent prompt_;
  const absl::Time deadline_;
  std::optional<cachestore::RequestHints> hints_;  // nullopt: none, or told
  BatchSize batch_;
  int64_t next_;
  bool over_ = false;
  cachestore::PinTicket ticket_;
};

// Blocks that stand alone: each key is a prompt of one block. Those that are missing or bad are
// left out.
class LoneBlockSource final : public BlockSource {
 public:
  // From key `first_key` on; the rest as of PrefixSource.
  LoneBlockSource(cachestore::TieredStore* store, const cachestore::NamespaceHandle& ns,
                  PromptContent keys, int64_t first_key, absl::Time deadline);
  int64_t batch_bytes() const override { return batch_.blocks * batch_.block_bytes; }
  bool over() const override { return next_ >= keys_.num_blocks(); }
  void Begin(std::function<void()> on_ready) override;
  absl::StatusOr<std::vector<FoundBlock>> Take() override;

 private:
  cachestore::TieredStore* const store_;
  const cachestore::NamespaceHandle ns_;
  const PromptContent keys_;
  const absl::Time deadline_;
  BatchSize batch_;
  int64_t next_;
  std::vector<cachestore::PinTicket> tickets_;  // of the keys from next_ on
};

// The blocks of a lease. Only a batch of them is held at a time: the rest is the lease's alone, and
// free when it ends.
class LeaseSource final : public BlockSource {
 public:
  // From block `first_block` of the prompt on. A lease that is loading is waited for.
  LeaseSource(std::shared_ptr<Session> session, std::string lease_id, int64_t first_block);
  ~LeaseSource() override { session_->StopWaiting(lease_id_, this); }
  int64_t batch_bytes() const override;
  bool over() const override { return over_; }
  void Begin(std::function<void()> on_ready) override;
  // kNotFound: the lease has ended.
  absl::StatusOr<std::vector<FoundBlock>> Take() override;

 private:
  // Blocks of the next batch. The first one has none: it finds out what there is.
  int64_t batch() const { return std::min(batch_, end_ - next_); }
  // kUnavailable: the lease is loading still.
  absl::StatusOr<LeasedBlocks> Ask() const;

  const std::shared_ptr<Session> session_;
  const std::string lease_id_;
  absl::StatusOr<LeasedBlocks> leased_;
  int64_t next_;             // block of the prompt
  int64_t end_;              // of the lease, once it is known
  int64_t batch_ = 1;        // blocks
  int64_t block_bytes_ = 0;  // 0: not known yet
  bool over_ = false;
};

}  // namespace reprise::api
