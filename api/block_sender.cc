#include "api/block_sender.h"

#include <algorithm>
#include <utility>

#include "absl/strings/string_view.h"
#include "absl/time/clock.h"
#include "api/auth/caller.h"
#include "api/limits.h"
#include "api/payload_wire.h"
#include "api/status_codec.h"
#include "cachestore/base/hash.h"
#include "reprise/v1/cache.pb.h"

namespace reprise::api {
namespace {

// A block that gRPC sends: pinned, and counted in the budget, until it has.
struct SentBlock {
  std::shared_ptr<const void> pin;
  int64_t bytes;
  SendBudget* budget;
};

void EndSent(void* sent) {
  const std::unique_ptr<SentBlock> owner(static_cast<SentBlock*>(sent));
  owner->pin.reset();
  owner->budget->Give(owner->bytes);
}

// The block's bytes where they lie, held as long as gRPC wants them.
grpc::Slice SliceOf(FoundBlock block, SendBudget* budget) {
  const absl::Span<const std::byte> bytes = block.bytes;
  auto* sent = new SentBlock{std::move(block.pin), static_cast<int64_t>(bytes.size()), budget};
  // gRPC only reads; its type does not say so.
  return grpc::Slice(const_cast<std::byte*>(bytes.data()), bytes.size(), EndSent, sent);
}

uint64_t HashOf(const FoundBlock& block) {
  return block.payload_hash.has_value() ? *block.payload_hash
                                        : cachestore::HashBytes64(block.bytes);
}

// The end of those from `begin` on that go into one message: blocks that follow one another, from
// one tier, of `max_bytes` together; the first in any case.
size_t EndOfMessage(const std::vector<FoundBlock>& batch, size_t begin, int64_t max_bytes) {
  const FoundBlock& first = batch[begin];
  size_t end = begin + 1;
  int64_t bytes = static_cast<int64_t>(first.bytes.size());
  for (; end < batch.size(); ++end) {
    bytes += static_cast<int64_t>(batch[end].bytes.size());
    const bool follows = batch[end].index == batch[end - 1].index + 1 &&
                         absl::string_view(batch[end].tier) == first.tier;
    if (!follows || bytes > max_bytes) break;
  }
  return end;
}

}  // namespace

grpc::ServerWriteReactor<grpc::ByteBuffer>* BlockSender::Start(grpc::CallbackServerContext* context,
                                                               SendBudget* budget,
                                                               std::unique_ptr<BlockSource> source,
                                                               int64_t max_message_bytes) {
  const std::shared_ptr<BlockSender> sender(
      new BlockSender(context, budget, std::move(source), max_message_bytes));
  sender->self_ = sender;
  sender->counted_ = budget->BeginCall(sender->tenant_);
  if (sender->counted_) {
    sender->Advance();
  } else {
    sender->Finish({grpc::StatusCode::RESOURCE_EXHAUSTED,
                    "as many Get calls run as may at once; try again later"});
  }
  return sender.get();
}

BlockSender::BlockSender(grpc::CallbackServerContext* context, SendBudget* budget,
                         std::unique_ptr<BlockSource> source, int64_t max_message_bytes)
    : context_(context),
      budget_(budget),
      tenant_(PrincipalOf(*context).tenant),
      source_(std::move(source)),
      max_message_bytes_(std::min(max_message_bytes, kMaxSharedMessageBytes)),
      stall_limit_(
          context,
          {.total = kMaxStreamTime, .stall = kMaxReadStall, .stall_if_short = kMaxReadStallIfShort},
          [budget] { return budget->scarce(); }) {}

void BlockSender::Hop(void (BlockSender::*next)()) {
  // A new one each time: the function of the last one may be what calls this.
  hop_ = std::make_unique<grpc::Alarm>();
  hop_->Set(absl::ToChronoTime(absl::Now()), [this, next](bool) { (this->*next)(); });
}

void BlockSender::Advance() {
  if (cancelled_) {
    End({grpc::StatusCode::CANCELLED, "the client has gone or stopped reading"});
  } else if (next_in_batch_ < batch_.size()) {
    WriteNext();
  } else if (source_->over()) {
    End(grpc::Status::OK);
  } else {
    NextBatch();
  }
}

void BlockSender::NextBatch() {
  // Once it stands in line, others may go on and end the call.
  const std::shared_ptr<BlockSender> self = shared_from_this();
  batch_bytes_ = source_->batch_bytes();
  if (budget_->Take(batch_bytes_, this)) return FindBatch();
  // A call that was cancelled before it stood in line is not woken by OnCancel.
  if (cancelled_ && budget_->Leave(this)) Advance();
}

void BlockSender::OnRoom() { Hop(&BlockSender::FindBatch); }

void BlockSender::FindBatch() {
  search_ = Search::kBegun;
  // Once it waits, others may go on and end the call.
  const std::shared_ptr<BlockSender> self = shared_from_this();
  source_->Begin([weak = weak_from_this()] {
    if (const std::shared_ptr<BlockSender> sender = weak.lock()) sender->OnBatchReady();
  });
  Search begun = Search::kBegun;
  if (!search_.compare_exchange_strong(begun, Search::kWaiting)) {
    search_ = Search::kOver;
    return TakeBatch();
  }
  if (cancelled_) GiveUpSearch();
}

void BlockSender::OnBatchReady() {
  Search at = Search::kBegun;
  if (search_.compare_exchange_strong(at, Search::kReady)) return;
  at = Search::kWaiting;
  if (search_.compare_exchange_strong(at, Search::kOver)) Hop(&BlockSender::TakeBatch);
}

void BlockSender::GiveUpSearch() {
  Search waiting = Search::kWaiting;
  if (search_.compare_exchange_strong(waiting, Search::kOver)) Hop(&BlockSender::DropSource);
}

void BlockSender::DropSource() {
  source_.reset();
  budget_->Give(batch_bytes_);
  Advance();
}

void BlockSender::TakeBatch() {
  absl::StatusOr<std::vector<FoundBlock>> found = source_->Take();
  batch_ = found.ok() ? *std::move(found) : std::vector<FoundBlock>();
  next_in_batch_ = 0;
  int64_t unused = batch_bytes_;
  for (const FoundBlock& block : batch_) unused -= static_cast<int64_t>(block.bytes.size());
  budget_->Give(unused);
  if (found.ok()) {
    Advance();
  } else {
    End(ToGrpc(found.status()));
  }
}

void BlockSender::WriteNext() {
  const size_t end = EndOfMessage(batch_, next_in_batch_, max_message_bytes_);
  v1::GetResponse message;
  message.set_block_index(batch_[next_in_batch_].index);
  message.set_payload_xxh3(HashOf(batch_[next_in_batch_]));
  message.set_tier(batch_[next_in_batch_].tier);
  for (size_t i = next_in_batch_ + 1; i < end; ++i) message.add_more_xxh3(HashOf(batch_[i]));
  std::vector<grpc::Slice> payload;
  for (; next_in_batch_ < end; ++next_in_batch_) {
    FoundBlock& block = batch_[next_in_batch_];
    ChargeBlocks(*context_, 1, static_cast<int64_t>(block.bytes.size()));
    payload.push_back(SliceOf(std::move(block), budget_));
  }
  in_write_ = JoinPayload(message, v1::GetResponse::kPayloadFieldNumber, std::move(payload));
  stall_limit_.BeginWait();
  if (next_in_batch_ == batch_.size() && source_->over()) {
    // The end goes with the last block, in one write.
    StartWriteAndFinish(&in_write_, grpc::WriteOptions(), grpc::Status::OK);
  } else {
    StartWrite(&in_write_);
  }
}

void BlockSender::OnWriteDone(bool ok) {
  stall_limit_.EndWait();
  in_write_.Clear();
  if (!ok) cancelled_ = true;
  Advance();
}

void BlockSender::OnCancel() {
  cancelled_ = true;
  // A write that is under way ends soon, and sees it.
  if (budget_->Leave(this)) return Hop(&BlockSender::Advance);
  GiveUpSearch();
}

void BlockSender::End(const grpc::Status& status) {
  int64_t unsent = 0;
  for (; next_in_batch_ < batch_.size(); ++next_in_batch_) {
    FoundBlock& block = batch_[next_in_batch_];
    unsent += static_cast<int64_t>(block.bytes.size());
    block.pin.reset();
  }
  budget_->Give(unsent);
  Finish(status);
}

void BlockSender::OnDone() {
  stall_limit_.Close();
  if (counted_) budget_->EndCall(tenant_);
  self_.reset();
}

}  // namespace reprise::api
