#include "api/put_run.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "api/limits.h"
#include "api/pin_blocks.h"
#include "cachestore/base/hash.h"
#include "cachestore/base/status_macros.h"

namespace reprise::api {

using cachestore::NamespaceHandle;
using cachestore::TokenId;

namespace {

// kDataLoss where `actual`, the XXH3-64 of a payload, is not what the client says.
absl::Status CompareChecksum(uint64_t told, uint64_t actual) {
  if (actual == told) return absl::OkStatus();
  return absl::DataLossError(
      absl::StrFormat("payload_xxh3 is %016x, the payload's XXH3-64 is %016x", told, actual));
}

}  // namespace

absl::StatusOr<PutRun> PutRun::Begin(const grpc::ServerContext& context,
                                     cachestore::TieredStore* store, const NamespaceHandle& ns,
                                     const cachestore::BlockContent& prefix) {
  const int64_t num_words = static_cast<int64_t>(prefix.words().size());
  if (num_words % ns.block_words != 0) {
    return absl::InvalidArgumentError(absl::StrCat("prefix_token_ids holds ", num_words,
                                                   " tokens, which is not whole blocks of ",
                                                   ns.block_words, " tokens"));
  }
  PutRun run(store, ns, /*lone=*/false);
  run.prefix_blocks_ = num_words / ns.block_words;
  if (run.prefix_blocks_ == 0) return run;
  // The last block keeps all before it in the store.
  ASSIGN_OR_RETURN(PinnedRange last, PinBlocks(context, *store, ns, prefix,
                                               {.first = run.prefix_blocks_ - 1, .count = 1}));
  if (last.pinned.blocks.empty()) {
    const int64_t present = store->Match(ns, prefix, run.prefix_blocks_).total_blocks();
    if (present == run.prefix_blocks_) {
      return absl::ResourceExhaustedError(
          "the last block of the prefix is on disk and there is no room in RAM to load it");
    }
    return absl::FailedPreconditionError(absl::StrCat("prefix_token_ids holds ", run.prefix_blocks_,
                                                      " blocks, of which only ", present,
                                                      " are in the store; put the others first"));
  }
  run.words_.assign(prefix.words().begin(), prefix.words().end());
  run.last_block_ = std::move(last.pinned.blocks.back());
  run.last_key_ = run.last_block_.key();
  return run;
}

absl::StatusOr<PutRun> PutRun::BeginLone(cachestore::TieredStore* store,
                                         const NamespaceHandle& ns) {
  RETURN_IF_ERROR(NeedLoneKeys(ns));
  return PutRun(store, ns, /*lone=*/true);
}

absl::StatusOr<PromptContent> PutRun::ContentOf(absl::Span<const TokenId> token_ids,
                                                absl::string_view external_key) const {
  std::vector<absl::string_view> keys;
  if (!external_key.empty()) keys.push_back(external_key);
  ASSIGN_OR_RETURN(PromptContent content, PromptContent::Of(ns_, token_ids, keys));
  if (content.view().words().size() != static_cast<size_t>(ns_.block_words)) {
    return absl::InvalidArgumentError(ns_.key_source == cachestore::KeySource::kExternal
                                          ? "external_key is missing"
                                          : absl::StrCat("token_ids holds ", token_ids.size(),
                                                         " tokens; a block holds ",
                                                         ns_.layout.block_tokens));
  }
  const int64_t num_blocks = prefix_blocks_ + static_cast<int64_t>(results_.size()) + 1;
  if (num_blocks * ns_.layout.block_tokens > kMaxRequestTokens) {
    return absl::InvalidArgumentError(
        absl::StrCat("the run is longer than ", kMaxRequestTokens, " tokens"));
  }
  return content;
}

bool PutRun::IsThere(const cachestore::BlockContent& content) const {
  return store_->Match(ns_, content, 1).total_blocks() == 1;
}

absl::StatusOr<cachestore::WritableBlock> PutRun::AllocateSlot(absl::Time deadline) {
  while (true) {
    auto slot = store_->Allocate(ns_);
    const bool full = slot.status().code() == absl::StatusCode::kResourceExhausted;
    if (!full || absl::Now() >= deadline || !store_->FitsQuota(ns_)) return slot;
    // Others wait as well: the room that comes may be theirs.
    store_->AwaitRoom(ns_, deadline);
  }
}

absl::StatusOr<cachestore::WritableBlock> PutRun::Fill(const SentBlock& block,
                                                       absl::Time deadline) {
  auto slot = AllocateSlot(deadline);
  if (!slot.ok()) {
    // A client whose payload is damaged must learn that, not that it shall come again later.
    RETURN_IF_ERROR(CompareChecksum(block.payload_xxh3, block.payload.Hash()));
    return slot.status();
  }
  // Read once for both; a slot that holds something else goes back as it goes out of scope.
  RETURN_IF_ERROR(CompareChecksum(block.payload_xxh3, block.payload.CopyTo(slot->bytes().data())));
  return slot;
}

absl::StatusOr<v1::PutOutcome> PutRun::Seal(const cachestore::BlockContent& content,
                                            cachestore::WritableBlock slot, uint64_t hash) {
  const std::byte* const written = slot.bytes().data();
  // The pin on the parent goes only after its child is sealed.
  cachestore::BlockRef block =
      store_->Seal(ns_, std::move(slot), lone_ ? ns_.root : last_key_, content, hash);
  const bool existed = block.bytes().data() != written;
  last_key_ = block.key();
  last_block_ = std::move(block);
  if (lone_) {
    if (!IsThere(content)) return absl::AbortedError("it was invalidated while it was stored");
  } else {
    words_.insert(words_.end(), content.words().begin(), content.words().end());
  }
  return existed ? v1::PUT_OUTCOME_EXISTED : v1::PUT_OUTCOME_STORED;
}

absl::StatusOr<v1::PutOutcome> PutRun::TryStore(const SentBlock& block, absl::Time deadline) {
  ASSIGN_OR_RETURN(const PromptContent content, ContentOf(block.token_ids, block.external_key));
  if (block.payload.size() != ns_.layout.BytesPerBlock()) {
    return absl::InvalidArgumentError(absl::StrCat("payload is ", block.payload.size(),
                                                   " bytes long; a block of this namespace is ",
                                                   ns_.layout.BytesPerBlock()));
  }
  if (lone_ && IsThere(content.view())) {
    RETURN_IF_ERROR(CompareChecksum(block.payload_xxh3, block.payload.Hash()));
    return v1::PUT_OUTCOME_EXISTED;
  }
  ASSIGN_OR_RETURN(cachestore::WritableBlock slot, Fill(block, deadline));
  return Seal(content.view(), std::move(slot), block.payload_xxh3);
}

absl::StatusOr<v1::PutOutcome> PutRun::TryStoreGranted(
    const v1::SealBlock& block, absl::StatusOr<cachestore::WritableBlock> slot) {
  RETURN_IF_ERROR(slot.status());
  const absl::Span<const TokenId> tokens(block.token_ids().data(),
                                         static_cast<size_t>(block.token_ids_size()));
  ASSIGN_OR_RETURN(const PromptContent content, ContentOf(tokens, block.external_key()));
  if (lone_ && IsThere(content.view())) return v1::PUT_OUTCOME_EXISTED;
  // Taken here, whatever the client says: the engine and the GPU read blocks without a look at
  // their hash, so one that does not fit its bytes must not come in.
  const uint64_t hash = cachestore::HashBytes64(slot->bytes());
  if (block.has_payload_xxh3()) RETURN_IF_ERROR(CompareChecksum(block.payload_xxh3(), hash));
  return Seal(content.view(), *std::move(slot), hash);
}

absl::Status PutRun::CheckCounts(const v1::PutRequest& message, const Payload& payload) const {
  const int64_t blocks = 1 + int64_t{message.more_xxh3_size()};
  const bool external = ns_.key_source == cachestore::KeySource::kExternal;
  const int64_t tokens = external ? 0 : blocks * ns_.layout.block_tokens;
  const int64_t keys = external ? blocks : 1;
  const int64_t bytes = blocks * static_cast<int64_t>(ns_.layout.BytesPerBlock());
  if (message.token_ids_size() == tokens && 1 + message.more_external_keys_size() == keys &&
      static_cast<int64_t>(payload.size()) == bytes) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "the message has ", blocks, " checksums, ", message.token_ids_size(), " token_ids, ",
      message.more_external_keys_size(), " more_external_keys and a payload of ", payload.size(),
      " bytes; so many blocks have ", tokens, ", ", keys - 1, " and ", bytes));
}

bool PutRun::Store(const v1::PutRequest& message, const Payload& payload, absl::Time deadline) {
  const size_t blocks = 1 + static_cast<size_t>(message.more_xxh3_size());
  if (blocks > 1) {
    // Which of them would be which is not known: none is stored.
    if (const absl::Status counts = CheckCounts(message, payload); !counts.ok()) {
      for (size_t i = 0; i < blocks; ++i) {
        if (!AddResult(counts)) return false;
      }
      return true;
    }
  }
  // For all of them: a message of thousands must not wait as often.
  const absl::Time room_deadline = std::min(deadline, absl::Now() + kMaxRoomWait);
  const absl::Span<const TokenId> tokens(message.token_ids().data(),
                                         static_cast<size_t>(message.token_ids_size()));
  const size_t block_tokens = tokens.size() / blocks;
  const size_t block_bytes = payload.size() / blocks;
  for (size_t i = 0; i < blocks; ++i) {
    const int behind = static_cast<int>(i) - 1;  // in what the message has of the others
    SentBlock block = {.token_ids = tokens.subspan(i * block_tokens, block_tokens),
                       .external_key = message.external_key(),
                       .payload = payload.Part(i * block_bytes, block_bytes),
                       .payload_xxh3 = message.payload_xxh3()};
    if (behind >= 0) {
      if (block.token_ids.empty()) block.external_key = message.more_external_keys(behind);
      block.payload_xxh3 = message.more_xxh3(behind);
    }
    if (!AddResult(TryStore(block, room_deadline))) return false;
  }
  return true;
}

bool PutRun::StoreGranted(const v1::SealBlock& block,
                          absl::StatusOr<cachestore::WritableBlock> slot) {
  return AddResult(TryStoreGranted(block, std::move(slot)));
}

bool PutRun::AddResult(const absl::StatusOr<v1::PutOutcome>& outcome) {
  v1::PutResult& result = results_.emplace_back();
  if (outcome.ok()) {
    result.set_outcome(*outcome);
    return true;
  }
  result.set_outcome(v1::PUT_OUTCOME_REJECTED);
  result.set_reason(std::string(outcome.status().message()));
  // Blocks that stand alone fail alone, but their results are kept: of one run, so many at most.
  const int64_t num_results = static_cast<int64_t>(results_.size());
  return lone_ && (prefix_blocks_ + num_results) * ns_.layout.block_tokens <= kMaxRequestTokens;
}

void PutRun::RejectLost() {
  // The last block is still pinned, so whatever is visible of the run stays so while it is counted.
  const cachestore::BlockContent run(ns_.key_source, words_);
  const int64_t sealed_blocks =
      static_cast<int64_t>(words_.size()) / ns_.block_words - prefix_blocks_;
  const int64_t visible =
      store_->Match(ns_, run, prefix_blocks_ + sealed_blocks).total_blocks() - prefix_blocks_;
  for (int64_t i = std::max<int64_t>(visible, 0); i < sealed_blocks; ++i) {
    v1::PutResult& result = results_[static_cast<size_t>(i)];
    result.set_outcome(v1::PUT_OUTCOME_REJECTED);
    result.set_reason(
        "the prefix was dropped while the blocks behind it were stored; put it again");
  }
}

v1::PutResponse PutRun::Finish(const cachestore::RequestHints& hints) {
  if (!lone_) {
    RejectLost();
    store_->EndRequest(ns_, cachestore::ChainKeys(ns_.root, words_, ns_.block_words),
                       {.hints = hints, .output_tokens = 0});
  }
  v1::PutResponse response;
  for (size_t i = 0; i < results_.size(); ++i) {
    v1::PutResult& result = results_[i];
    if (result.outcome() != v1::PUT_OUTCOME_REJECTED) {
      response.set_stored_blocks(response.stored_blocks() + 1);
    } else {
      if (response.rejected_blocks() == 0) {
        response.set_reject_reason(absl::StrCat("block ", prefix_blocks_ + static_cast<int64_t>(i),
                                                ": ", result.reason()));
      }
      response.set_rejected_blocks(response.rejected_blocks() + 1);
    }
    *response.add_results() = std::move(result);
  }
  last_block_ = cachestore::BlockRef();
  return response;
}

}  // namespace reprise::api
