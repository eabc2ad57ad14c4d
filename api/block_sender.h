// BlockSender: a Get call. It sends blocks from the arena itself: what gRPC is given are slices
// that point to a block and hold its pin until they are written to the socket, so no byte is copied
// on the way.
//
//     wait for room (SendBudget) -> find a batch, loading what is not in RAM -> write its blocks -+
//            ^                                                                                   |
//            +-----------------------------------------------------------------------------------+
//
// At any time one of these is under way, and whoever ends it goes on: gRPC's threads after a write,
// a thread of gRPC's pool after the other two. So a thousand clients that do not read hold no
// thread, and no more of RAM than the budget. Ends itself, with its client also while it waits for
// room or loads.
#pragma once

#include <grpcpp/alarm.h>
#include <grpcpp/server_context.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "api/block_source.h"
#include "api/send_budget.h"
#include "api/stall_limit.h"

namespace reprise::api {

class BlockSender final : public grpc::ServerWriteReactor<grpc::ByteBuffer>,
                          private RoomWaiter,
                          public std::enable_shared_from_this<BlockSender> {
 public:
  // Sends all blocks of `source`, several in a message as long as they are of `max_message_bytes`
  // together, and returns the call's reactor. `budget` and `context` outlive the call.
  // RESOURCE_EXHAUSTED: there are as many calls as may be, of all or of the caller's tenant.
  static grpc::ServerWriteReactor<grpc::ByteBuffer>* Start(grpc::CallbackServerContext* context,
                                                           SendBudget* budget,
                                                           std::unique_ptr<BlockSource> source,
                                                           int64_t max_message_bytes);

  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

 private:
  // Of finding a batch.
  enum class Search {
    kBegun,    // Begin has not returned, nor is the batch ready
    kReady,    // before Begin has returned, which goes on
    kWaiting,  // Begin has returned: who makes the batch ready goes on, or who cancels the call
    kOver,     // somebody goes on
  };

  BlockSender(grpc::CallbackServerContext* context, SendBudget* budget,
              std::unique_ptr<BlockSource> source, int64_t max_message_bytes);

  void OnRoom() override;
  // Calls `next` soon, on a thread that may call store and gRPC.
  void Hop(void (BlockSender::*next)());
  // Goes on with the next block, batch, or the end.
  void Advance();
  void NextBatch();
  void FindBatch();
  void OnBatchReady();
  void TakeBatch();
  // If nothing but the source is waited for: goes on without it.
  void GiveUpSearch();
  void DropSource();
  void WriteNext();
  void End(const grpc::Status& status);

  grpc::CallbackServerContext* const context_;
  SendBudget* const budget_;
  const std::string tenant_;
  std::unique_ptr<BlockSource> source_;  // gone when it was given up
  const int64_t max_message_bytes_;
  StallLimit stall_limit_;
  std::atomic<bool> cancelled_ = false;
  bool counted_ = false;               // among the budget's calls; set once, at the start
  std::shared_ptr<BlockSender> self_;  // gRPC's share; gone after OnDone

  // Used by whoever ends what is under way.
  int64_t batch_bytes_ = 0;  // that were taken from the budget for this batch
  std::vector<FoundBlock> batch_;
  size_t next_in_batch_ = 0;
  grpc::ByteBuffer in_write_;
  std::atomic<Search> search_ = Search::kOver;
  std::unique_ptr<grpc::Alarm> hop_;
};

}  // namespace reprise::api
