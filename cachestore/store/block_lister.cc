#include "cachestore/store/block_lister.h"

#include <algorithm>
#include <utility>

#include "cachestore/base/check.h"

namespace reprise::cachestore {
namespace {

static_assert(kEndOfList == PrefixIndex::kEndOfKeys);

// Nodes looked at under one hold of the lock, which takes some ten microseconds.
constexpr size_t kNodesAtOnce = 128;

ListedBlock Describe(const StoreState& state, BlockId id) {
  const PrefixIndex::Node& node = state.index.node(id);
  const auto on_gpu = state.gpu.copies.find(id);
  return {.key = node.key,
          .parent = state.index.node(node.parent).key,
          .namespace_id = node.namespace_id,
          .depth = state.index.DepthOf(id),
          .bytes = static_cast<int64_t>(state.payload_bytes(id)),
          .tiers = node.tiers(),
          .pins = int64_t{node.pins} + (on_gpu == state.gpu.copies.end() ? 0 : on_gpu->second.pins),
          .words = {}};
}

std::vector<uint32_t> WordsOf(const StoreState& state, BlockId id) {
  const PrefixIndex::Node& node = state.index.node(id);
  return {node.words(), node.words() + state.index.block_words(node.namespace_id)};
}

bool Wants(const ListFilter& filter, const StoreState& state, BlockId id) {
  const PrefixIndex::Node& node = state.index.node(id);
  if (node.tiers().empty()) return false;
  if (filter.namespace_id.has_value() && node.namespace_id != *filter.namespace_id) return false;
  return !filter.tenant.has_value() || state.namespace_of(id).tenant == *filter.tenant;
}

// A walk in the order of the tree. Its place is a node, which it pins: so the node keeps its place
// among its siblings, and its ancestors theirs. A block that comes is put before its siblings,
// where the walk has been already if it has been at any of them.
class IndexWalk : public BlockWalk {
 public:
  // `top` (kNoBlock: nothing) is a root, or pinned for the walk.
  IndexWalk(StoreCore& core, BlockId top) : core_(core), top_(top), at_(top) {}
  ~IndexWalk() override {
    absl::MutexLock lock(&core_.mu);
    MoveTo(kNoBlock);
  }

  std::vector<ListedBlock> Next(size_t max_blocks) override {
    CHECK(max_blocks > 0);
    std::vector<ListedBlock> blocks;
    while (at_ != kNoBlock && blocks.size() < max_blocks) {
      absl::MutexLock lock(&core_.mu);
      Go(max_blocks, blocks);
    }
    return blocks;
  }

 private:
  enum class Stage {
    kAtBlock,  // the block comes next
    kBelow,    // what is below it comes next
    kBehind,   // what is behind all of this comes next
  };

  void Go(size_t max_blocks, std::vector<ListedBlock>& blocks)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(core_.mu) {
    BlockId at = at_;
    for (size_t i = 0; i < kNodesAtOnce && at != kNoBlock && blocks.size() < max_blocks; ++i) {
      const PrefixIndex::Node& node = core_.state.index.node(at);
      if (stage_ == Stage::kAtBlock) {
        if (!node.tiers().empty()) {
          blocks.push_back(Describe(core_.state, at));
          blocks.back().words = WordsOf(core_.state, at);
        }
        stage_ = Stage::kBelow;
      } else if (stage_ == Stage::kBelow && node.first_child != kNoBlock) {
        at = node.first_child;
        stage_ = Stage::kAtBlock;
      } else if (at == top_) {
        at = kNoBlock;
      } else {
        const bool has_next = node.next_sibling != kNoBlock;
        at = has_next ? node.next_sibling : node.parent;
        stage_ = has_next ? Stage::kAtBlock : Stage::kBehind;
      }
    }
    MoveTo(at);
  }

  void MoveTo(BlockId id) ABSL_EXCLUSIVE_LOCKS_REQUIRED(core_.mu) {
    const BlockId before = std::exchange(at_, id);
    if (before == id) return;
    if (id != kNoBlock && !core_.state.index.node(id).is_root) core_.ram.Pin(id);
    if (before == kNoBlock || core_.state.index.node(before).is_root) return;
    core_.ram.Unpin(before);
    core_.NoteChange();
  }

  StoreCore& core_;
  const BlockId top_;
  BlockId at_;  // kNoBlock: the walk has ended
  Stage stage_ = Stage::kAtBlock;
};

}  // namespace

ListPage BlockLister::List(const ListFilter& filter, uint64_t cursor, size_t max_blocks) const {
  CHECK(max_blocks > 0);
  ListPage page = {.blocks = {}, .cursor = cursor};
  while (page.cursor < kEndOfList && page.blocks.size() < max_blocks) {
    absl::ReaderMutexLock lock(&core_.mu);
    const size_t count = std::min(kNodesAtOnce, max_blocks - page.blocks.size());
    page.cursor = core_.state.index.VisitKeys(page.cursor, count, [&](BlockId id) {
      core_.mu.AssertReaderHeld();
      if (!Wants(filter, core_.state, id)) return;
      page.blocks.push_back(Describe(core_.state, id));
      if (filter.with_words) page.blocks.back().words = WordsOf(core_.state, id);
    });
  }
  return page;
}

std::optional<ListedBlock> BlockLister::Find(const BlockKey& key) const {
  absl::ReaderMutexLock lock(&core_.mu);
  const BlockId id = core_.state.index.Find(key);
  if (id == kNoBlock || core_.state.index.node(id).tiers().empty()) return std::nullopt;
  ListedBlock block = Describe(core_.state, id);
  block.words = WordsOf(core_.state, id);
  return block;
}

std::unique_ptr<BlockWalk> BlockLister::Walk(uint32_t namespace_id, absl::Span<const BlockKey> keys,
                                             absl::Span<const uint32_t> words) const {
  std::vector<BlockId> ids(keys.size());
  absl::MutexLock lock(&core_.mu);
  const PrefixIndex& index = core_.state.index;
  BlockId top = index.root_node(namespace_id);
  if (!keys.empty()) {
    MatchEnd end;
    const size_t matched = index.Match(top, keys, words, absl::MakeSpan(ids), end);
    top = matched == keys.size() ? ids.back() : kNoBlock;
    if (top != kNoBlock) core_.ram.Pin(top);
  }
  return std::make_unique<IndexWalk>(core_, top);
}

}  // namespace reprise::cachestore
