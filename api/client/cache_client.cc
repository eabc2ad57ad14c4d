#include "api/client/cache_client.h"

#include <grpcpp/impl/codegen/rpc_method.h>
#include <grpcpp/support/sync_stream.h>

#include <algorithm>
#include <cstddef>
#include <optional>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "api/client/prompt_fields.h"
#include "api/limits.h"
#include "api/status_codec.h"
#include "cachestore/base/hash.h"
#include "cachestore/base/status_macros.h"
#include "cachestore/block/block_key.h"

namespace reprise::api {
namespace {

constexpr char kPutMethod[] = "/reprise.v1.Cache/Put";
constexpr char kGetMethod[] = "/reprise.v1.Cache/Get";

// Most blocks of one message of a Put: of the smallest ones, what names them would be more than the
// message may hold.
constexpr size_t kMaxMessageBlocks = 4096;

uint64_t Checksum(absl::string_view payload) {
  return cachestore::HashBytes64(
      absl::MakeConstSpan(reinterpret_cast<const std::byte*>(payload.data()), payload.size()));
}

using cachestore::BlockContent;
using Keys = google::protobuf::RepeatedPtrField<std::string>;
using grpc::internal::RpcMethod;

std::vector<std::shared_ptr<grpc::Channel>> Connect(const std::string& address,
                                                    const ClientAccess& access, int count) {
  std::vector<std::shared_ptr<grpc::Channel>> channels;
  while (static_cast<int>(channels.size()) < count) channels.push_back(ConnectTo(address, access));
  return channels;
}

// Memory of the caller that gRPC reads. Thread-safe.
class LentMemory {
 public:
  // BLOCKS until gRPC has given everything back: soon after the call has ended, or, when a server
  // takes nothing any more, when the connection is given up.
  ~LentMemory() {
    absl::MutexLock lock(&mu_);
    mu_.Await(absl::Condition(
        +[](int* lent) { return *lent == 0; }, &lent_));
  }

  grpc::Slice Lend(absl::string_view bytes) {
    absl::MutexLock lock(&mu_);
    ++lent_;
    // gRPC only reads; its type does not say so.
    return grpc::Slice(const_cast<char*>(bytes.data()), bytes.size(), GiveBack, this);
  }

 private:
  static void GiveBack(void* memory) {
    auto* lender = static_cast<LentMemory*>(memory);
    absl::MutexLock lock(&lender->mu_);
    --lender->lent_;
  }

  absl::Mutex mu_;
  int lent_ ABSL_GUARDED_BY(mu_) = 0;
};

// How many of `blocks`, which are some, go into one message: those that are alike, of `max_bytes`
// together; the first in any case.
size_t MessageBlocks(absl::Span<const PutBlock> blocks, int64_t max_bytes) {
  const PutBlock& first = blocks[0];
  const auto alike = [&first](const PutBlock& block) {
    return block.payload.size() == first.payload.size() &&
           block.content.source() == first.content.source() &&
           block.content.words().size() == first.content.words().size();
  };
  size_t count = 1;
  while (count < std::min(blocks.size(), kMaxMessageBlocks) && alike(blocks[count]) &&
         static_cast<int64_t>((count + 1) * first.payload.size()) <= max_bytes) {
    ++count;
  }
  return count;
}

// Adds all but the payload of a block to `request`.
void AddBlock(const PutBlock& block, bool is_first, v1::PutRequest* request) {
  google::protobuf::RepeatedField<uint32_t> tokens;
  Keys keys;
  SetContent(block.content, &tokens, &keys);
  request->mutable_token_ids()->MergeFrom(tokens);
  const uint64_t checksum = Checksum(block.payload);
  if (is_first) {
    request->set_external_key(keys.empty() ? "" : keys[0]);
    request->set_payload_xxh3(checksum);
  } else {
    request->mutable_more_external_keys()->MergeFrom(keys);
    request->add_more_xxh3(checksum);
  }
}

// Gives `use` the blocks of `message` one by one, each as if it had come alone, and counts them.
// False: one, at which `message` stays, has another checksum than `use` returns.
bool UseBlocks(const Payload& payload,
               absl::FunctionRef<uint64_t(v1::GetResponse&, const Payload&)> use,
               v1::GetResponse* message, int64_t* num_blocks) {
  std::vector<uint64_t> checksums = {message->payload_xxh3()};
  checksums.insert(checksums.end(), message->more_xxh3().begin(), message->more_xxh3().end());
  message->clear_more_xxh3();
  const size_t block_bytes = payload.size() / checksums.size();
  if (payload.size() % checksums.size() != 0) return false;
  const int64_t first = message->block_index();
  for (size_t i = 0; i < checksums.size(); ++i) {
    message->set_block_index(first + static_cast<int64_t>(i));
    message->set_payload_xxh3(checksums[i]);
    if (use(*message, payload.Part(i * block_bytes, block_bytes)) != checksums[i]) return false;
    ++*num_blocks;
  }
  return true;
}

}  // namespace

CacheClient::CacheClient(const std::string& address, const ClientAccess& access,
                         int num_connections)
    : channels_(Connect(address, access, num_connections)),
      stub_(v1::Cache::NewStub(channels_[0])) {}

grpc::Channel* CacheClient::NextChannel() {
  const uint32_t turn = next_channel_.fetch_add(1, std::memory_order_relaxed);
  return channels_[turn % channels_.size()].get();
}

absl::StatusOr<v1::OpenNamespaceResponse> CacheClient::OpenNamespace(
    const v1::NamespaceIdentity& identity, absl::Duration timeout) {
  ASSIGN_OR_RETURN(v1::OpenNamespaceResponse opened, Open(identity, timeout));
  namespaces_.Add(opened.namespace_id(), identity);
  return opened;
}

absl::StatusOr<uint32_t> CacheClient::Reopen(uint32_t namespace_id, absl::Duration timeout) {
  const std::optional<v1::NamespaceIdentity> identity = namespaces_.IdentityOf(namespace_id);
  if (!identity.has_value()) return absl::NotFoundError("this client has not opened it");
  ASSIGN_OR_RETURN(const v1::OpenNamespaceResponse opened, Open(*identity, timeout));
  namespaces_.SetCurrent(namespace_id, opened.namespace_id());
  return opened.namespace_id();
}

absl::StatusOr<v1::OpenNamespaceResponse> CacheClient::Open(const v1::NamespaceIdentity& identity,
                                                            absl::Duration timeout) {
  v1::OpenNamespaceRequest request;
  *request.mutable_identity() = identity;
  request.set_hash_scheme(std::string(cachestore::kHashSchemeId));
  ASSIGN_OR_RETURN(v1::OpenNamespaceResponse opened,
                   CallUnary(*stub_, &v1::Cache::Stub::OpenNamespace, request, timeout));
  put_message_bytes_ = std::min(opened.max_message_bytes(), kMaxSharedMessageBytes);
  return opened;
}

absl::StatusOr<v1::MatchResponse> CacheClient::Match(uint32_t namespace_id,
                                                     const BlockContent& prompt,
                                                     absl::Duration timeout) {
  auto request = PromptRequest<v1::MatchRequest>(namespace_id, prompt);
  return CallIn(&v1::Cache::Stub::Match, std::move(request), timeout);
}

absl::StatusOr<v1::ExistsResponse> CacheClient::Exists(uint32_t namespace_id,
                                                       const BlockContent& prompt,
                                                       bool independent_keys,
                                                       absl::Duration timeout) {
  auto request = PromptRequest<v1::ExistsRequest>(namespace_id, prompt);
  request.set_independent_keys(independent_keys);
  return CallIn(&v1::Cache::Stub::Exists, std::move(request), timeout);
}

absl::StatusOr<int64_t> CacheClient::Touch(uint32_t namespace_id, const BlockContent& prompt,
                                           absl::Duration timeout, const v1::CacheHints& hints) {
  auto request = PromptRequest<v1::TouchRequest>(namespace_id, prompt);
  *request.mutable_hints() = hints;
  const auto response = CallIn(&v1::Cache::Stub::Touch, std::move(request), timeout);
  if (!response.ok()) return response.status();
  return response->touched_blocks();
}

absl::StatusOr<v1::PrefetchResponse> CacheClient::Prefetch(uint32_t namespace_id,
                                                           const BlockContent& prompt,
                                                           int64_t max_blocks,
                                                           absl::Duration timeout,
                                                           const v1::CacheHints& hints) {
  auto request = PromptRequest<v1::PrefetchRequest>(namespace_id, prompt);
  request.set_max_blocks(max_blocks);
  *request.mutable_hints() = hints;
  return CallIn(&v1::Cache::Stub::Prefetch, std::move(request), timeout);
}

absl::StatusOr<v1::PutResponse> CacheClient::Put(uint32_t namespace_id, const BlockContent& prefix,
                                                 absl::Span<const PutBlock> blocks,
                                                 absl::Duration timeout,
                                                 const v1::CacheHints& hints) {
  v1::PutRequest first;
  first.set_namespace_id(namespace_id);
  *first.mutable_hints() = hints;
  SetContent(prefix, first.mutable_prefix_token_ids(), first.mutable_prefix_external_keys());
  return PutIn(std::move(first), blocks, timeout);
}

absl::StatusOr<v1::PutResponse> CacheClient::PutLone(uint32_t namespace_id,
                                                     absl::Span<const PutBlock> blocks,
                                                     absl::Duration timeout) {
  v1::PutRequest first;
  first.set_namespace_id(namespace_id);
  first.set_independent_keys(true);
  return PutIn(std::move(first), blocks, timeout);
}

absl::StatusOr<v1::PutResponse> CacheClient::PutIn(v1::PutRequest first,
                                                   absl::Span<const PutBlock> blocks,
                                                   absl::Duration timeout) {
  // Nothing was stored of a Put whose namespace is not found: it may be sent again.
  return InNamespace(first.namespace_id(), timeout, [&](uint32_t id, absl::Duration left) {
    first.set_namespace_id(id);
    return PutOnce(first, blocks, left);
  });
}

absl::StatusOr<v1::PutResponse> CacheClient::PutOnce(v1::PutRequest first,
                                                     absl::Span<const PutBlock> blocks,
                                                     absl::Duration timeout) {
  const int num_blocks = static_cast<int>(blocks.size());
  LentMemory lent;  // outlives the call
  grpc::ClientContext context;
  SetTimeout(timeout, &context);
  v1::PutResponse response;
  // As the generated stub does it, but with messages as bytes.
  grpc::Channel* const channel = NextChannel();
  const RpcMethod method(kPutMethod, RpcMethod::CLIENT_STREAMING);
  const std::unique_ptr<grpc::ClientWriter<grpc::ByteBuffer>> writer(
      grpc::internal::ClientWriterFactory<grpc::ByteBuffer>::Create(channel, method, &context,
                                                                    &response));
  v1::PutRequest request = std::move(first);
  while (!blocks.empty()) {
    const size_t count = MessageBlocks(blocks, put_message_bytes_);
    std::vector<grpc::Slice> payload;
    for (const PutBlock& block : blocks.first(count)) {
      AddBlock(block, /*is_first=*/payload.empty(), &request);
      payload.push_back(lent.Lend(block.payload));
    }
    blocks.remove_prefix(count);
    const grpc::ByteBuffer message =
        JoinPayload(request, v1::PutRequest::kPayloadFieldNumber, std::move(payload));
    if (!writer->Write(message)) break;  // the server has ended the run; Finish says why
    request = v1::PutRequest();
  }
  writer->WritesDone();
  if (const grpc::Status status = writer->Finish(); !status.ok()) return FromGrpc(status);
  // Those that the server has not looked at.
  while (response.results_size() > 0 && response.results_size() < num_blocks) {
    response.add_results()->set_outcome(v1::PUT_OUTCOME_BEHIND_REJECTED);
  }
  return response;
}

absl::StatusOr<int64_t> CacheClient::Get(uint32_t namespace_id, const BlockContent& prompt,
                                         int64_t first_block, absl::Duration timeout,
                                         absl::FunctionRef<void(const v1::GetResponse&)> on_block) {
  auto request = PromptRequest<v1::GetRequest>(namespace_id, prompt);
  request.set_first_block(first_block);
  return Get(request, timeout, on_block);
}

absl::StatusOr<int64_t> CacheClient::Get(const v1::GetRequest& request, absl::Duration timeout,
                                         absl::FunctionRef<void(const v1::GetResponse&)> on_block) {
  const auto use = [on_block](v1::GetResponse& message, const Payload& payload) {
    std::string& copy = *message.mutable_payload();
    copy.resize(payload.size());
    const uint64_t hash = payload.CopyTo(reinterpret_cast<std::byte*>(copy.data()));
    if (hash == message.payload_xxh3()) on_block(message);
    return hash;
  };
  return Read(request, timeout, use);
}

absl::StatusOr<int64_t> CacheClient::GetInto(
    const v1::GetRequest& request, absl::Duration timeout,
    absl::FunctionRef<std::byte*(int64_t index, size_t bytes)> place) {
  const auto use = [place](v1::GetResponse& message, const Payload& payload) {
    return payload.CopyTo(place(message.block_index(), payload.size()));
  };
  return Read(request, timeout, use);
}

absl::StatusOr<int64_t> CacheClient::Read(
    const v1::GetRequest& request, absl::Duration timeout,
    absl::FunctionRef<uint64_t(v1::GetResponse&, const Payload&)> use) {
  v1::GetRequest asked = request;
  asked.set_max_message_bytes(kMaxSharedMessageBytes);
  return InNamespace(request.namespace_id(), timeout, [&](uint32_t id, absl::Duration left) {
    asked.set_namespace_id(id);
    return ReadOnce(asked, left, use);
  });
}

absl::StatusOr<int64_t> CacheClient::ReadOnce(
    const v1::GetRequest& request, absl::Duration timeout,
    absl::FunctionRef<uint64_t(v1::GetResponse&, const Payload&)> use) {
  grpc::ClientContext context;
  SetTimeout(timeout, &context);
  grpc::Channel* const channel = NextChannel();
  const RpcMethod method(kGetMethod, RpcMethod::SERVER_STREAMING);
  const std::unique_ptr<grpc::ClientReader<grpc::ByteBuffer>> reader(
      grpc::internal::ClientReaderFactory<grpc::ByteBuffer>::Create(channel, method, &context,
                                                                    request));
  grpc::ByteBuffer bytes;
  v1::GetResponse message;
  int64_t num_blocks = 0;
  while (reader->Read(&bytes)) {
    const absl::StatusOr<Payload> payload =
        SplitPayload(bytes, v1::GetResponse::kPayloadFieldNumber, &message);
    if (!payload.ok() || !UseBlocks(*payload, use, &message, &num_blocks)) {
      context.TryCancel();
      reader->Finish();
      return absl::DataLossError(
          absl::StrCat("block ", message.block_index(), " does not match its checksum"));
    }
  }
  if (const grpc::Status status = reader->Finish(); !status.ok()) return FromGrpc(status);
  return num_blocks;
}

absl::StatusOr<v1::StatsResponse> CacheClient::Stats(absl::Duration timeout) {
  return CallUnary(*stub_, &v1::Cache::Stub::Stats, v1::StatsRequest(), timeout);
}

absl::StatusOr<int64_t> CacheClient::Demote(absl::Duration timeout) {
  const auto response = CallUnary(*stub_, &v1::Cache::Stub::Demote, v1::DemoteRequest(), timeout);
  if (!response.ok()) return response.status();
  return response->demoted_blocks();
}

absl::StatusOr<v1::InvalidateResponse> CacheClient::Invalidate(const v1::InvalidateRequest& request,
                                                               absl::Duration timeout) {
  v1::InvalidateRequest asked = request;
  return InNamespace(ScopeNamespace(request), timeout, [&](uint32_t id, absl::Duration left) {
    SetScopeNamespace(id, &asked);
    return CallUnary(*stub_, &v1::Cache::Stub::Invalidate, asked, left);
  });
}

}  // namespace reprise::api
