#include "api/client/cache_client.h"

#include <cstddef>
#include <utility>

#include "absl/strings/str_cat.h"
#include "api/client/prompt_fields.h"
#include "api/status_codec.h"
#include "cachestore/base/hash.h"
#include "cachestore/block/block_key.h"

namespace reprise::api {
namespace {

uint64_t Checksum(absl::string_view payload) {
  return cachestore::HashBytes64(
      absl::MakeConstSpan(reinterpret_cast<const std::byte*>(payload.data()), payload.size()));
}

using cachestore::BlockContent;
using Keys = google::protobuf::RepeatedPtrField<std::string>;

}  // namespace

CacheClient::CacheClient(const std::string& address, const ClientAccess& access)
    : stub_(v1::Cache::NewStub(ConnectTo(address, access))) {}

absl::StatusOr<v1::OpenNamespaceResponse> CacheClient::OpenNamespace(
    const v1::NamespaceIdentity& identity, absl::Duration timeout) {
  grpc::ClientContext context;
  SetTimeout(timeout, &context);
  v1::OpenNamespaceRequest request;
  *request.mutable_identity() = identity;
  request.set_hash_scheme(std::string(cachestore::kHashSchemeId));
  v1::OpenNamespaceResponse response;
  if (const grpc::Status status = stub_->OpenNamespace(&context, request, &response);
      !status.ok()) {
    return FromGrpc(status);
  }
  return response;
}

absl::StatusOr<v1::MatchResponse> CacheClient::Match(uint32_t namespace_id,
                                                     const BlockContent& prompt,
                                                     absl::Duration timeout) {
  grpc::ClientContext context;
  SetTimeout(timeout, &context);
  v1::MatchRequest request;
  request.set_namespace_id(namespace_id);
  SetContent(prompt, request.mutable_token_ids(), request.mutable_external_keys());
  v1::MatchResponse response;
  if (const grpc::Status status = stub_->Match(&context, request, &response); !status.ok()) {
    return FromGrpc(status);
  }
  return response;
}

absl::StatusOr<v1::ExistsResponse> CacheClient::Exists(uint32_t namespace_id,
                                                       const BlockContent& prompt,
                                                       bool independent_keys,
                                                       absl::Duration timeout) {
  grpc::ClientContext context;
  SetTimeout(timeout, &context);
  v1::ExistsRequest request;
  request.set_namespace_id(namespace_id);
  SetContent(prompt, request.mutable_token_ids(), request.mutable_external_keys());
  request.set_independent_keys(independent_keys);
  v1::ExistsResponse response;
  if (const grpc::Status status = stub_->Exists(&context, request, &response); !status.ok()) {
    return FromGrpc(status);
  }
  return response;
}

absl::StatusOr<int64_t> CacheClient::Touch(uint32_t namespace_id, const BlockContent& prompt,
                                           absl::Duration timeout) {
  grpc::ClientContext context;
  SetTimeout(timeout, &context);
  v1::TouchRequest request;
  request.set_namespace_id(namespace_id);
  SetContent(prompt, request.mutable_token_ids(), request.mutable_external_keys());
  v1::TouchResponse response;
  if (const grpc::Status status = stub_->Touch(&context, request, &response); !status.ok()) {
    return FromGrpc(status);
  }
  return response.touched_blocks();
}

absl::StatusOr<v1::PrefetchResponse> CacheClient::Prefetch(uint32_t namespace_id,
                                                           const BlockContent& prompt,
                                                           int64_t max_blocks,
                                                           absl::Duration timeout) {
  grpc::ClientContext context;
  SetTimeout(timeout, &context);
  v1::PrefetchRequest request;
  request.set_namespace_id(namespace_id);
  SetContent(prompt, request.mutable_token_ids(), request.mutable_external_keys());
  request.set_max_blocks(max_blocks);
  v1::PrefetchResponse response;
  if (const grpc::Status status = stub_->Prefetch(&context, request, &response); !status.ok()) {
    return FromGrpc(status);
  }
  return response;
}

absl::StatusOr<v1::PutResponse> CacheClient::Put(uint32_t namespace_id, const BlockContent& prefix,
                                                 absl::Span<const PutBlock> blocks,
                                                 absl::Duration timeout) {
  v1::PutRequest first;
  first.set_namespace_id(namespace_id);
  SetContent(prefix, first.mutable_prefix_token_ids(), first.mutable_prefix_external_keys());
  return Put(std::move(first), blocks, timeout);
}

absl::StatusOr<v1::PutResponse> CacheClient::PutLone(uint32_t namespace_id,
                                                     absl::Span<const PutBlock> blocks,
                                                     absl::Duration timeout) {
  v1::PutRequest first;
  first.set_namespace_id(namespace_id);
  first.set_independent_keys(true);
  return Put(std::move(first), blocks, timeout);
}

absl::StatusOr<v1::PutResponse> CacheClient::Put(v1::PutRequest first,
                                                 absl::Span<const PutBlock> blocks,
                                                 absl::Duration timeout) {
  grpc::ClientContext context;
  SetTimeout(timeout, &context);
  v1::PutResponse response;
  const std::unique_ptr<grpc::ClientWriter<v1::PutRequest>> writer =
      stub_->Put(&context, &response);
  v1::PutRequest request = std::move(first);
  for (const PutBlock& block : blocks) {
    Keys keys;
    SetContent(block.content, request.mutable_token_ids(), &keys);
    request.set_external_key(keys.empty() ? "" : keys[0]);
    request.set_payload(block.payload.data(), block.payload.size());
    request.set_payload_xxh3(Checksum(block.payload));
    if (!writer->Write(request)) break;  // the server has ended the run; Finish says why
    request.clear_namespace_id();
    request.clear_prefix_token_ids();
    request.clear_prefix_external_keys();
  }
  writer->WritesDone();
  if (const grpc::Status status = writer->Finish(); !status.ok()) return FromGrpc(status);
  // Those that the server has not looked at.
  while (response.results_size() > 0 && response.results_size() < static_cast<int>(blocks.size())) {
    response.add_results()->set_outcome(v1::PUT_OUTCOME_BEHIND_REJECTED);
  }
  return response;
}

absl::StatusOr<int64_t> CacheClient::Get(uint32_t namespace_id, const BlockContent& prompt,
                                         int64_t first_block, absl::Duration timeout,
                                         absl::FunctionRef<void(const v1::GetResponse&)> on_block) {
  v1::GetRequest request;
  request.set_namespace_id(namespace_id);
  SetContent(prompt, request.mutable_token_ids(), request.mutable_external_keys());
  request.set_first_block(first_block);
  return Get(request, timeout, on_block);
}

absl::StatusOr<int64_t> CacheClient::Get(const v1::GetRequest& request, absl::Duration timeout,
                                         absl::FunctionRef<void(const v1::GetResponse&)> on_block) {
  grpc::ClientContext context;
  SetTimeout(timeout, &context);
  const std::unique_ptr<grpc::ClientReader<v1::GetResponse>> reader = stub_->Get(&context, request);
  v1::GetResponse response;
  int64_t num_blocks = 0;
  while (reader->Read(&response)) {
    if (Checksum(response.payload()) != response.payload_xxh3()) {
      context.TryCancel();
      reader->Finish();
      return absl::DataLossError(
          absl::StrCat("block ", response.block_index(), " does not match its checksum"));
    }
    on_block(response);
    ++num_blocks;
  }
  if (const grpc::Status status = reader->Finish(); !status.ok()) return FromGrpc(status);
  return num_blocks;
}

absl::StatusOr<v1::StatsResponse> CacheClient::Stats(absl::Duration timeout) {
  grpc::ClientContext context;
  SetTimeout(timeout, &context);
  v1::StatsResponse response;
  if (const grpc::Status status = stub_->Stats(&context, v1::StatsRequest(), &response);
      !status.ok()) {
    return FromGrpc(status);
  }
  return response;
}

absl::StatusOr<int64_t> CacheClient::Demote(absl::Duration timeout) {
  grpc::ClientContext context;
  SetTimeout(timeout, &context);
  v1::DemoteResponse response;
  if (const grpc::Status status = stub_->Demote(&context, v1::DemoteRequest(), &response);
      !status.ok()) {
    return FromGrpc(status);
  }
  return response.demoted_blocks();
}

absl::StatusOr<v1::InvalidateResponse> CacheClient::Invalidate(const v1::InvalidateRequest& request,
                                                               absl::Duration timeout) {
  grpc::ClientContext context;
  SetTimeout(timeout, &context);
  v1::InvalidateResponse response;
  if (const grpc::Status status = stub_->Invalidate(&context, request, &response); !status.ok()) {
    return FromGrpc(status);
  }
  return response;
}

}  // namespace reprise::api
