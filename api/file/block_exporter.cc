#include "api/file/block_exporter.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "api/auth/caller.h"
#include "api/file/block_file_format.h"
#include "api/limits.h"
#include "api/pin_blocks.h"
#include "cachestore/base/status_macros.h"

namespace reprise::api {
namespace {

// Blocks that the store tells at a time.
constexpr size_t kBlocksAtOnce = 64;

}  // namespace

BlockExporter::BlockExporter(const grpc::ServerContext& context, cachestore::TieredStore* store,
                             const cachestore::NamespaceHandle& ns, absl::string_view identity,
                             Sink sink)
    : context_(context),
      store_(store),
      ns_(ns),
      sink_(sink),
      header_(std::string(kBlockFileMagic)) {
  AppendU32(kBlockFileVersion, &header_);
  for (const absl::string_view text : {cachestore::kHashSchemeId, identity}) {
    AppendU32(static_cast<uint32_t>(text.size()), &header_);
    absl::StrAppend(&header_, text);
  }
  AppendU64(cachestore::HashBytes64(BytesOf(header_)), &header_);
}

absl::Status BlockExporter::Flush() {
  if (piece_.empty()) return absl::OkStatus();
  if (sink_(std::exchange(piece_, ""))) return absl::OkStatus();
  return absl::CancelledError("the client has stopped reading");
}

absl::Status BlockExporter::Append(absl::string_view bytes) {
  hash_.Add(BytesOf(bytes));
  while (!bytes.empty()) {
    const absl::string_view part = bytes.substr(0, kFileChunkBytes - piece_.size());
    absl::StrAppend(&piece_, part);
    bytes.remove_prefix(part.size());
    if (piece_.size() == kFileChunkBytes) RETURN_IF_ERROR(Flush());
  }
  return absl::OkStatus();
}

absl::Status BlockExporter::AddBlock(int64_t depth, absl::Span<const uint32_t> words,
                                     absl::Span<const std::byte> payload) {
  std::string front(1, kBlockRecord);
  AppendU32(static_cast<uint32_t>(depth), &front);
  for (const uint32_t word : words) AppendU32(word, &front);
  cachestore::StreamHash64 hash;
  hash.Add(BytesOf(front));
  hash.Add(payload);
  RETURN_IF_ERROR(Append(front));
  RETURN_IF_ERROR(Append({reinterpret_cast<const char*>(payload.data()), payload.size()}));
  std::string back;
  AppendU64(hash.hash(), &back);
  RETURN_IF_ERROR(Append(back));
  ChargeBlocks(context_, 1, static_cast<int64_t>(payload.size()));
  ++num_blocks_;
  return absl::OkStatus();
}

absl::StatusOr<int64_t> BlockExporter::WriteRun(const Run& run) {
  const cachestore::BlockContent content(ns_.key_source, run.path);
  const auto words = static_cast<size_t>(ns_.block_words);
  // So much of RAM that others keep some.
  const int64_t block_bytes = static_cast<int64_t>(ns_.layout.BytesPerBlock());
  const int64_t batch = std::max<int64_t>(
      1, std::min(kMaxPinnedBytes / block_bytes, store_->capacity_blocks(ns_) / 4));
  for (int64_t done = 0; done < run.count;) {
    const int64_t first = run.first_depth + done;
    const int64_t count = std::min(batch, run.count - done);
    ASSIGN_OR_RETURN(const PinnedRange range,
                     PinBlocks(context_, *store_, ns_, content, {.first = first, .count = count}));
    int64_t depth = first;
    for (const cachestore::BlockRef& block : range.pinned.blocks) {
      RETURN_IF_ERROR(AddBlock(depth,
                               content.words().subspan(static_cast<size_t>(depth) * words, words),
                               block.bytes()));
      ++depth;
    }
    if (depth < first + count) return depth;
    done += count;
  }
  return -1;
}

absl::StatusOr<int64_t> BlockExporter::Finish() {
  std::string end(1, kEndRecord);
  AppendU64(static_cast<uint64_t>(num_blocks_), &end);
  RETURN_IF_ERROR(Append(end));
  std::string checksum;
  AppendU64(hash_.hash(), &checksum);
  RETURN_IF_ERROR(Append(checksum));
  RETURN_IF_ERROR(Flush());
  return num_blocks_;
}

absl::StatusOr<int64_t> BlockExporter::ExportPrefix(const PromptContent& prompt) {
  RETURN_IF_ERROR(Append(header_));
  const absl::Span<const uint32_t> words = prompt.view().words();
  RETURN_IF_ERROR(
      WriteRun(
          {.path = {words.begin(), words.end()}, .first_depth = 0, .count = prompt.num_blocks()})
          .status());
  return Finish();
}

absl::StatusOr<int64_t> BlockExporter::ExportNamespace() {
  RETURN_IF_ERROR(Append(header_));
  const auto words = static_cast<size_t>(ns_.block_words);
  const auto walk = store_->Walk(cachestore::BlocksOfNamespace{ns_});
  Run run;
  int64_t missing = -1;  // what is below this depth has lost its parent
  const auto write = [&]() -> absl::Status {
    if (run.count > 0) {
      ASSIGN_OR_RETURN(missing, WriteRun(run));
    }
    run.count = 0;
    return absl::OkStatus();
  };
  while (true) {
    const std::vector<cachestore::ListedBlock> blocks = walk->Next(kBlocksAtOnce);
    if (blocks.empty()) break;
    for (const cachestore::ListedBlock& block : blocks) {
      if (run.count > 0 && block.depth != run.first_depth + run.count) RETURN_IF_ERROR(write());
      if (missing >= 0 && block.depth > missing) continue;
      missing = -1;
      // The walk tells parents first: the path to the block's parent is the begin of the last one.
      if (run.path.size() < static_cast<size_t>(block.depth) * words) continue;
      run.path.resize(static_cast<size_t>(block.depth) * words);
      run.path.insert(run.path.end(), block.words.begin(), block.words.end());
      if (run.count++ == 0) run.first_depth = block.depth;
    }
  }
  RETURN_IF_ERROR(write());
  return Finish();
}

}  // namespace reprise::api
