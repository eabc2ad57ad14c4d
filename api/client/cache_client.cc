#include "api/client/cache_client.h"

#include <cstddef>

#include "absl/strings/str_cat.h"
#include "api/client/channel.h"
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
using TokenIds = google::protobuf::RepeatedField<uint32_t>;
using Keys = google::protobuf::RepeatedPtrField<std::string>;

// Writes `content` into the one of the two fields that is for it.
void SetContent(const BlockContent& content, TokenIds* token_ids, Keys* external_keys) {
  const absl::Span<const uint32_t> words = content.words();
  if (content.source() == cachestore::KeySource::kTokens) {
    token_ids->Assign(words.begin(), words.end());
    return;
  }
  for (size_t i = 0; i < words.size(); i += cachestore::ExternalKey::kWords) {
    external_keys->Add(
        std::string(reinterpret_cast<const char*>(&words[i]), cachestore::ExternalKey::kBytes));
  }
}

}  // namespace

CacheClient::CacheClient(const std::string& address)
    : stub_(v1::Cache::NewStub(ConnectTo(address))) {}

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

absl::StatusOr<v1::PutResponse> CacheClient::Put(uint32_t namespace_id, const BlockContent& prefix,
                                                 absl::Span<const PutBlock> blocks,
                                                 absl::Duration timeout) {
  grpc::ClientContext context;
  SetTimeout(timeout, &context);
  v1::PutResponse response;
  const std::unique_ptr<grpc::ClientWriter<v1::PutRequest>> writer =
      stub_->Put(&context, &response);
  v1::PutRequest request;
  request.set_namespace_id(namespace_id);
  SetContent(prefix, request.mutable_prefix_token_ids(), request.mutable_prefix_external_keys());
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
  return response;
}

absl::StatusOr<int64_t> CacheClient::Get(uint32_t namespace_id, const BlockContent& prompt,
                                         int64_t first_block, absl::Duration timeout,
                                         absl::FunctionRef<void(const v1::GetResponse&)> on_block) {
  grpc::ClientContext context;
  SetTimeout(timeout, &context);
  v1::GetRequest request;
  request.set_namespace_id(namespace_id);
  SetContent(prompt, request.mutable_token_ids(), request.mutable_external_keys());
  request.set_first_block(first_block);
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
