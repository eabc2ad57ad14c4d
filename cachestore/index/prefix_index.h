// PrefixIndex: which blocks exist, how they chain, and in which tiers each one is. It records and
// vetoes; it moves no bytes and chooses no victims.
//
// Invariants:
//  (1) A node's parent node is present for as long as the node is (namespace roots have none).
//  (2) live_children == children for which InStore() holds; children_on_disk == children stored on
//      disk or being stored. Both are kept on every change.
//  (3) A node that is in no tier, not pinned, not in flight, no orphan and without children does
//      not exist, once RemoveIfGone was called for it.
//
// A node may outlive its usefulness: a block whose disk copy is being erased stays as a node, out
// of the store (never matched), until the disk has forgotten it, so that a key is never stored
// again before that. Thread-compatible: StoreCore::mu guards every call.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/functional/function_ref.h"
#include "absl/types/span.h"
#include "cachestore/block/block_id.h"
#include "cachestore/block/block_key.h"
#include "cachestore/index/key_table.h"
#include "cachestore/index/node_arena.h"
#include "cachestore/index/residency.h"

namespace reprise::cachestore {

enum class DiskState : uint8_t {
  kNone,
  kStoring,  // being written; the RAM copy may not go
  kStored,
  kErasing,  // being erased; not readable any more
};

// Why a match ended.
enum class MatchEnd { kAllMatched, kAbsent, kCollision };

class PrefixIndex {
 public:
  static constexpr uint32_t kNoRamSlot = 0xffffffff;
  static constexpr int kDepthBits = 24;
  static constexpr uint32_t kMaxDepth = (1u << kDepthBits) - 1;
  static constexpr int kNamespaceBits = 24;
  static constexpr size_t kMaxNamespaces = size_t{1} << kNamespaceBits;

  // One block. Read-only outside of the index. One cache line; the words begin the next one.
  struct alignas(NodeArena::kAlignment) Node {
    BlockKey key;
    BlockId parent = kNoBlock;  // kNoBlock: a namespace root, or private
    BlockId first_child = kNoBlock;
    BlockId next_sibling = kNoBlock;
    BlockId previous_sibling = kNoBlock;
    uint32_t ram_slot = kNoRamSlot;  // slot of the readable RAM copy
    uint32_t live_children = 0;
    uint32_t children_on_disk = 0;
    uint32_t pins = 0;
    uint32_t namespace_id : kNamespaceBits = 0;
    DiskState disk : 2 = DiskState::kNone;
    bool condemned : 1 = false;  // the disk copy must be erased and never read
    // The RAM and GPU copies go with their last pins and are not matched.
    bool doomed : 1 = false;
    bool loading : 1 = false;     // a load from disk is in flight
    bool is_private : 1 = false;  // not in the tree: only its holder knows it
    // Invalidated while pinned or being stored: it stays doomed, and its key is not sealed again.
    bool stale : 1 = false;
    bool is_root : 1 = false;
    uint32_t depth : kDepthBits = 0;  // blocks before it, at most kMaxDepth (DepthOf)
    bool in_use : 1 = false;
    bool reused : 1 = false;       // found by a request since it came into the store
    bool rejected : 1 = false;     // not worth a write to disk until it is used again
    bool load_failed : 1 = false;  // the disk copy could not be read the last time
    bool orphan : 1 = false;       // in StoreState::orphans
    bool in_gpu : 1 = false;       // there is a readable GPU copy (GpuState::copies)
    bool gpu_held : 1 = false;     // it is pinned, or being copied to RAM
    bool verifying : 1 = false;    // the disk copy is being read to be verified, and must stay
    uint64_t payload_hash = 0;     // XXH3-64 of the disk copy

    // The block's content (BlockContent), block_words of them; undefined for roots and private
    // blocks.
    const uint32_t* words() const { return reinterpret_cast<const uint32_t*>(this + 1); }
    bool in_ram() const { return ram_slot != kNoRamSlot; }
    bool in_memory() const { return in_ram() || in_gpu; }
    bool readable_on_disk() const { return disk == DiskState::kStored && !condemned; }
    bool needs_parent_on_disk() const {
      return disk == DiskState::kStored || disk == DiskState::kStoring;
    }
    // Where it can be found.
    TierSet tiers() const {
      if (is_root || doomed || is_private) return {};
      return {in_gpu, in_ram(), readable_on_disk()};
    }
    // Matchable: readable in some tier.
    bool in_store() const {
      return is_root || (!doomed && !is_private && (in_memory() || readable_on_disk()));
    }
  };

  // The listeners (may be null) outlive the index. Roots and private blocks are not told of.
  explicit PrefixIndex(ResidencyListener* listener = nullptr, NodeListener* nodes = nullptr)
      : listener_(listener), node_listener_(nodes) {}
  PrefixIndex(const PrefixIndex&) = delete;
  PrefixIndex& operator=(const PrefixIndex&) = delete;

  // Adds a namespace; ids count from 0. REQUIRES: `root` has no namespace yet; block_words > 0;
  // there are fewer than kMaxNamespaces.
  uint32_t AddNamespace(const BlockKey& root, int32_t block_words);
  std::optional<uint32_t> FindNamespace(const BlockKey& root) const;
  BlockId root_node(uint32_t namespace_id) const { return namespaces_[namespace_id].node; }
  int32_t block_words(uint32_t namespace_id) const { return namespaces_[namespace_id].block_words; }
  size_t num_namespaces() const { return namespaces_.size(); }

  const Node& node(BlockId id) const { return *reinterpret_cast<const Node*>(arena_.at(id)); }
  // The node with this key, in the store or not; kNoBlock when there is none. Finds no roots and no
  // private blocks.
  BlockId Find(const BlockKey& key) const;
  // Whether the words of `id` are `words` (one block's worth) and its parent is `parent`.
  bool Verify(BlockId id, BlockId parent, absl::Span<const uint32_t> words) const;

  // Follows `keys` down from the node `parent` while the blocks are in the store and verify: each
  // one's parent is the block before it and its words equal its part of `words` (as many per block
  // as the namespace has). Writes the matched ids to the front of `ids` (at least keys.size()
  // long), returns their number and why it ended.
  size_t Match(BlockId parent, absl::Span<const BlockKey> keys, absl::Span<const uint32_t> words,
               absl::Span<BlockId> ids, MatchEnd& end) const;

  // A new node in no tier; give it one next. REQUIRES: `key` has no node, `parent` is a node.
  BlockId Insert(BlockId parent, const BlockKey& key, absl::Span<const uint32_t> words);
  // A new node outside of the tree, never found and never matched.
  BlockId InsertPrivate(uint32_t namespace_id, const BlockKey& key);
  // Whether a private block with this key lives.
  bool HasPrivate(const BlockKey& key) const { return private_keys_.contains(key); }
  // Removes `id` if it is gone (invariant 3), then its parent, and so on upwards. An id that was
  // removed already is skipped.
  void RemoveIfGone(BlockId id);
  // Room for `count` blocks without rehashing.
  void Reserve(size_t count) { table_.Reserve(count); }

  // State changes. Each keeps the parent's counts and tells the listener, the reason being `why`
  // where a block may leave a tier; REQUIRES what its name implies.
  void AttachRam(BlockId id, uint32_t slot);                        // not in RAM; lifts a doom
  uint32_t DetachRam(BlockId id, Removal why = Removal::kEvicted);  // returns the slot
  void AttachGpu(BlockId id);                                       // not on the GPU; lifts a doom
  void DetachGpu(BlockId id, Removal why = Removal::kEvicted);      // not held
  void SetGpuHeld(BlockId id, bool held);                           // on the GPU
  void BeginStore(BlockId id);                                      // kNone -> kStoring
  void EndStore(BlockId id);                                        // kStoring -> kStored
  void AbortStore(BlockId id);  // kStoring -> kNone; lifts the disk copy's sentence
  void MarkStored(BlockId id);  // kNone -> kStored, for recovery
  void BeginErase(BlockId id);  // kStored -> kErasing
  void EndErase(BlockId id);    // kErasing -> kNone
  void AbortErase(BlockId id);  // kErasing -> kStored and condemned
  // There is a disk copy, or one is being written.
  void Condemn(BlockId id, Removal why = Removal::kEvicted);
  void Doom(BlockId id, Removal why = Removal::kEvicted);  // in RAM or on the GPU
  void LiftDoom(BlockId id);                               // not stale
  // Pinned, or doomed in memory; ends with the last pin and the copies in memory.
  void MarkStale(BlockId id);
  void SetLoading(BlockId id);
  void ClearLoading(BlockId id);
  void SetPayloadHash(BlockId id, uint64_t hash) { at(id).payload_hash = hash; }
  void SetLoadFailed(BlockId id, bool failed) { at(id).load_failed = failed; }
  void SetReused(BlockId id) { at(id).reused = true; }
  void SetRejected(BlockId id, bool rejected) { at(id).rejected = rejected; }
  void SetOrphan(BlockId id, bool orphan) { at(id).orphan = orphan; }
  void SetVerifying(BlockId id, bool verifying);  // readable on disk when that begins
  void Pin(BlockId id);        // in RAM, or wherever it is for whoever waits for it
  uint32_t Unpin(BlockId id);  // returns the pins left

  // Vetoes. The RAM copy may go because the disk copy stays.
  bool MayEvict(BlockId id) const;
  // The RAM copy is the last one and may go: no pins, nothing in flight, no children in any tier.
  bool MayDrop(BlockId id) const;
  // The RAM copy may go because a GPU copy stays.
  bool MayLeaveToGpu(BlockId id) const;
  // The GPU copy may go because a copy below stays.
  bool MayEvictFromGpu(BlockId id) const;
  // The GPU copy is the last one and may go, as above.
  bool MayDropFromGpu(BlockId id) const;
  // The disk copy may go: nothing reads it, no children in any tier (one in RAM would need it back
  // to be demoted), and no pins if it is the last copy.
  bool MayEraseFromDisk(BlockId id) const;
  // The condemned disk copy may go now: nothing reads it, no children on disk.
  bool MayEraseCondemned(BlockId id) const;

  // Calls `visit` for the nodes from `from` on, roots and private blocks included, looking at
  // `count` at most; `visit` may change them. Returns where to go on, kNoBlock after the last one.
  BlockId VisitSome(BlockId from, size_t count, absl::FunctionRef<void(BlockId)> visit) const;

  // A walk over the blocks that keeps its place while they come and go: see KeyTable::VisitSome.
  // Visits neither roots nor private blocks.
  static constexpr uint64_t kEndOfKeys = KeyTable::kEnd;
  uint64_t VisitKeys(uint64_t from, size_t count, absl::FunctionRef<void(BlockId)> visit) const {
    return table_.VisitSome(from, count, visit);
  }
  // Blocks before `id` in its chain.
  int64_t DepthOf(BlockId id) const;

  int64_t num_nodes() const { return num_nodes_; }
  int64_t num_pinned() const { return num_pinned_; }
  int64_t num_on_disk() const { return num_on_disk_; }      // kStored
  int64_t num_condemned() const { return num_condemned_; }  // condemned and not kNone

 private:
  struct Namespace {
    BlockKey root;
    BlockId node = kNoBlock;
    int32_t block_words = 0;
  };
  Node& at(BlockId id) { return *reinterpret_cast<Node*>(arena_.at(id)); }
  BlockId NewNode(const BlockKey& key, uint32_t namespace_id);
  void FreeNode(BlockId id);
  void LinkChild(BlockId parent, BlockId id);
  void UnlinkChild(BlockId id);
  // Applies `mutate` to the node, then corrects the counts that depend on it and tells the
  // listener.
  template <typename Mutate>
  void Change(BlockId id, Mutate mutate, Removal why = Removal::kEvicted);

  ResidencyListener* const listener_;
  NodeListener* const node_listener_;
  NodeArena arena_;
  KeyTable table_;
  std::vector<Namespace> namespaces_;
  absl::flat_hash_map<BlockKey, uint32_t> namespace_of_root_;
  absl::flat_hash_map<BlockKey, int64_t> private_keys_;  // -> private blocks with this key
  int64_t num_nodes_ = 0;
  int64_t num_pinned_ = 0;
  int64_t num_on_disk_ = 0;
  int64_t num_condemned_ = 0;
};

}  // namespace reprise::cachestore
