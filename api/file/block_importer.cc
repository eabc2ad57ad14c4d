#include "api/file/block_importer.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "api/auth/caller.h"
#include "api/file/block_file_format.h"
#include "api/limits.h"
#include "cachestore/base/status_macros.h"

namespace reprise::api {

using cachestore::NamespaceHandle;

absl::Status BlockImporter::Damage(int64_t begin, const std::string& what) const {
  return absl::DataLossError(absl::StrCat("the file is damaged at byte ", begin, ", behind ",
                                          num_blocks_, " blocks: ", what));
}

absl::StatusOr<cachestore::NamespaceIdentity> BlockImporter::ReadHeader() {
  std::string header;
  if (!source_->Read(kBlockFileMagic.size(), &header) || header != kBlockFileMagic) {
    return absl::InvalidArgumentError("this is not a file that Export has made");
  }
  if (!source_->Read(4, &header)) return Damage(0, "it ends in its header");
  const uint32_t version = ReadU32(header.data() + kBlockFileMagic.size());
  if (version != kBlockFileVersion) {
    return absl::FailedPreconditionError(absl::StrCat("the file's format version is ", version,
                                                      "; this server reads ", kBlockFileVersion));
  }
  std::string texts[2];
  for (std::string& text : texts) {
    if (!source_->Read(4, &header)) return Damage(0, "it ends in its header");
    const uint32_t size = ReadU32(header.data() + header.size() - 4);
    if (size > kMaxHeaderText) return Damage(0, "a text of its header is too long");
    if (!source_->Read(size, &header)) return Damage(0, "it ends in its header");
    text = header.substr(header.size() - size);
  }
  const uint64_t hash = source_->hash();
  std::string checksum;
  if (!source_->Read(8, &checksum)) return Damage(0, "it ends in its header");
  if (ReadU64(checksum.data()) != hash) return Damage(0, "its header does not match its checksum");
  if (texts[0] != cachestore::kHashSchemeId) {
    return absl::FailedPreconditionError(
        absl::StrCat("the file's hash scheme is \"", texts[0].substr(0, kMaxEchoBytes),
                     "\"; this server speaks \"", cachestore::kHashSchemeId, "\""));
  }
  return cachestore::NamespaceIdentity::Decode(texts[1]);
}

void BlockImporter::Reject(const std::string& reason) {
  if (response_.rejected_blocks() == 0) response_.set_reject_reason(reason);
  response_.set_rejected_blocks(response_.rejected_blocks() + 1);
}

void BlockImporter::EndRun() {
  if (!run_.has_value()) return;
  const v1::PutResponse put = run_->Finish({});
  run_.reset();
  for (const v1::PutResult& result : put.results()) {
    if (result.outcome() == v1::PUT_OUTCOME_STORED) {
      response_.set_stored_blocks(response_.stored_blocks() + 1);
    } else if (result.outcome() == v1::PUT_OUTCOME_EXISTED) {
      response_.set_existing_blocks(response_.existing_blocks() + 1);
    } else {
      Reject(result.reason());
    }
  }
}

void BlockImporter::Store(const NamespaceHandle& ns, int64_t depth, const v1::PutRequest& block,
                          const Payload& payload) {
  if (!run_.has_value() || depth != next_depth_) {
    EndRun();
    const absl::Span<const uint32_t> prefix =
        absl::MakeConstSpan(path_).first(static_cast<size_t>(depth * ns.block_words));
    absl::StatusOr<PutRun> run =
        PutRun::Begin(context_, store_, ns, cachestore::BlockContent(ns.key_source, prefix));
    if (!run.ok()) return Reject(std::string(run.status().message()));
    run_.emplace(*std::move(run));
  }
  next_depth_ = depth + 1;
  ChargeBlocks(context_, 1, static_cast<int64_t>(payload.size()));
  if (!run_->Store(block, payload,
                   std::min(absl::FromChrono(context_.deadline()), absl::Now() + kMaxRoomWait))) {
    EndRun();
  }
}

absl::Status BlockImporter::ReadBlock(const NamespaceHandle& ns) {
  const int64_t begin = source_->position() - 1;
  const auto words = static_cast<size_t>(ns.block_words);
  std::string front(1, kBlockRecord);
  std::string payload;
  std::string checksum;
  if (!source_->Read(4 + 4 * words, &front) ||
      !source_->Read(ns.layout.BytesPerBlock(), &payload) || !source_->Read(8, &checksum)) {
    return Damage(begin, "it ends within a block");
  }
  cachestore::StreamHash64 hash;
  hash.Add(BytesOf(front));
  hash.Add(BytesOf(payload));
  if (ReadU64(checksum.data()) != hash.hash()) {
    return Damage(begin, "the block does not match its checksum");
  }
  const auto depth = static_cast<size_t>(ReadU32(front.data() + 1));
  if (depth * words > path_.size()) return Damage(begin, "the block has no parent");
  path_.resize(depth * words);
  for (size_t i = 0; i < words; ++i) path_.push_back(ReadU32(front.data() + 5 + 4 * i));

  v1::PutRequest block;
  const auto own = absl::MakeConstSpan(path_).subspan(depth * words);
  if (ns.key_source == cachestore::KeySource::kTokens) {
    block.mutable_token_ids()->Assign(own.begin(), own.end());
  } else {
    cachestore::ExternalKey key;
    std::copy(own.begin(), own.end(), key.words.begin());
    block.set_external_key(key.ToBytes());
  }
  block.set_payload_xxh3(cachestore::HashBytes64(BytesOf(payload)));
  ++num_blocks_;
  Store(ns, static_cast<int64_t>(depth), block,
        Payload({grpc::Slice(payload.data(), payload.size())}));
  return absl::OkStatus();
}

absl::Status BlockImporter::ReadEnd(int64_t begin) {
  std::string count;
  if (!source_->Read(8, &count)) return Damage(begin, "it ends within its end");
  const uint64_t hash = source_->hash();
  std::string checksum;
  if (!source_->Read(8, &checksum)) return Damage(begin, "it ends within its end");
  if (ReadU64(checksum.data()) != hash) return Damage(begin, "all of it has another checksum");
  if (ReadU64(count.data()) != num_blocks_) {
    return Damage(begin, absl::StrCat("its end counts ", ReadU64(count.data()), " blocks"));
  }
  if (!source_->AtEnd()) return Damage(source_->position(), "there is more behind its end");
  return absl::OkStatus();
}

absl::StatusOr<v1::ImportResponse> BlockImporter::ReadBlocks(const NamespaceHandle& ns) {
  absl::Status status;
  while (status.ok()) {
    if (context_.IsCancelled()) {
      status = absl::CancelledError("the call was cancelled");
      break;
    }
    const int64_t begin = source_->position();
    std::string type;
    if (!source_->Read(1, &type)) {
      status = Damage(begin, "its end is missing");
    } else if (type[0] == kBlockRecord) {
      status = ReadBlock(ns);
    } else if (type[0] == kEndRecord) {
      status = ReadEnd(begin);
      break;
    } else {
      status = Damage(
          begin, absl::StrFormat("%#02x begins no record", static_cast<unsigned char>(type[0])));
    }
  }
  EndRun();
  if (status.ok()) return std::move(response_);
  return absl::Status(
      status.code(),
      absl::StrCat(status.message(), "; ", response_.stored_blocks(), " blocks are stored, ",
                   response_.existing_blocks(), " were there already"));
}

}  // namespace reprise::api
