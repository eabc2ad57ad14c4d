// What TieredStore::Impl tells of what it holds: see tiered_store.h.
#include <algorithm>
#include <utility>

#include "cachestore/store/explainer.h"
#include "cachestore/store/prompt_chain.h"
#include "cachestore/store/tiered_store_impl.h"

namespace reprise::cachestore {
namespace {

// Namespaces told of under one hold of the lock.
constexpr size_t kNamespacesAtOnce = 128;

}  // namespace

ListPage TieredStore::Impl::List(const ListRequest& request) const {
  ListFilter filter = {.namespace_id = {}, .tenant = {}, .with_words = request.with_words};
  if (const auto* tenant = std::get_if<BlocksOfTenant>(&request.scope)) {
    filter.tenant = tenant->tenant;
  } else if (const auto* space = std::get_if<BlocksOfNamespace>(&request.scope)) {
    filter.namespace_id = space->ns.id;
  }
  return lister_.List(filter, request.cursor, request.max_blocks);
}

std::unique_ptr<BlockWalk> TieredStore::Impl::Walk(const WalkScope& scope) {
  if (const auto* space = std::get_if<BlocksOfNamespace>(&scope)) {
    return lister_.Walk(space->ns.id, {}, {});
  }
  const auto& below = std::get<BlocksBelow>(scope);
  const absl::Span<const uint32_t> words = below.prefix.words();
  CHECK(below.prefix.source() == below.ns.key_source && !words.empty() &&
        words.size() % static_cast<size_t>(below.ns.block_words) == 0);
  const std::vector<BlockKey> keys = ChainKeys(below.ns.root, words, below.ns.block_words, derive_);
  return lister_.Walk(below.ns.id, keys, words);
}

std::vector<NamespaceUsage> TieredStore::Impl::Usage() const {
  std::vector<NamespaceUsage> usage;
  for (bool more = true; more;) {
    absl::ReaderMutexLock lock(&core_.mu);
    const StoreState& state = core_.state;
    const size_t end = std::min(state.namespaces.size(), usage.size() + kNamespacesAtOnce);
    for (auto id = static_cast<uint32_t>(usage.size()); id < end; ++id) {
      const NamespaceRecord& record = state.namespaces[id];
      NamespaceUsage& of = usage.emplace_back();
      of.name = {.id = id,
                 .root = state.index.node(state.index.root_node(id)).key,
                 .tenant = record.tenant,
                 .identity = record.identity};
      const TierCounts& blocks = state.book.blocks(id);
      of.tiers = {{{blocks[CacheTier::kGpu], state.gpu.pool.used_bytes_of(id)},
                   {blocks[CacheTier::kRam], state.pool.used_bytes_of(id)},
                   {blocks[CacheTier::kDisk], state.book.disk_copies(id) * record.disk_bytes}}};
    }
    more = end < state.namespaces.size();
  }
  return usage;
}

int64_t TieredStore::Impl::Touch(const NamespaceHandle& ns, const BlockContent& prompt,
                                 int64_t max_blocks, const RequestHints& hints) {
  const PromptChain chain = ChainOf(ns, prompt, {.first = 0, .count = max_blocks});
  const std::vector<BlockKey> keys = ChainKeys(ns.root, chain.words, ns.block_words, derive_);
  std::vector<BlockId> ids(keys.size());
  MatchEnd end;
  absl::MutexLock lock(&core_.mu);
  StoreState& state = core_.state;
  ids.resize(
      state.index.Match(state.index.root_node(ns.id), keys, chain.words, absl::MakeSpan(ids), end));
  // What is expected is no use yet.
  const bool is_use = hints.use != RequestHints::Use::kAhead;
  const absl::Span<const BlockId> used =
      is_use ? absl::MakeConstSpan(ids) : absl::Span<const BlockId>();
  for (const BlockId id : used) {
    state.index.SetReused(id);
    if (!state.index.node(id).rejected) continue;
    state.index.SetRejected(id, false);
    Candidates(state).Update(id);
  }
  core_.NoteRequest({.namespace_id = ns.id,
                     .block_tokens = ns.layout.block_tokens,
                     .prompt_tokens = TokensOf(ns, prompt),
                     .keys = keys,
                     .matched = ids,
                     .hints = hints});
  state.counters.touched_blocks += static_cast<int64_t>(used.size());
  core_.NoteChange();
  return static_cast<int64_t>(ids.size());
}

void TieredStore::Impl::EndRequest(const NamespaceHandle& ns, absl::Span<const BlockKey> chain,
                                   const RequestEnd& end, int64_t first_block) {
  absl::MutexLock lock(&core_.mu);
  core_.NoteEnd({.namespace_id = ns.id,
                 .block_tokens = ns.layout.block_tokens,
                 .first_block = first_block,
                 .keys = chain,
                 .last = chain.empty() ? kNoBlock : core_.state.index.Find(chain.back()),
                 .end = end});
}

WhatIfReport TieredStore::Impl::WhatIf() const {
  WhatIfReport report;
  {
    absl::ReaderMutexLock lock(&core_.mu);
    report.sampling_rate = core_.what_if.sampling_rate();
    report.all = WhatIfCurves::Nothing(core_.SizesOf(kCommonShare));
  }
  const auto add = [](const std::vector<WhatIfPoint>& points, std::vector<WhatIfPoint>& sums) {
    for (size_t i = 0; i < points.size(); ++i) sums[i].hit_tokens += points[i].hit_tokens;
  };
  // Requests may come between one tenant and the next.
  for (uint32_t number = 0;; ++number) {
    absl::ReaderMutexLock lock(&core_.mu);
    if (number == core_.what_if.num_tenants()) break;
    const ShareSizes sizes = core_.SizesOf(core_.what_if.ShareOf(number));
    const TenantWhatIf& tenant = report.tenants.emplace_back(core_.what_if.OfTenant(number, sizes));
    report.all.looked_up_tokens += tenant.looked_up_tokens;
    add(tenant.ram, report.all.ram);
    add(tenant.disk, report.all.disk);
  }
  return report;
}

std::vector<ExplainedBlock> TieredStore::Impl::Explain(const NamespaceHandle& ns,
                                                       const BlockContent& prompt) const {
  const auto all = static_cast<int64_t>(prompt.words().size());
  const PromptChain chain = ChainOf(ns, prompt, {.first = 0, .count = all});
  const std::vector<BlockKey> keys = ChainKeys(ns.root, chain.words, ns.block_words, derive_);
  std::vector<ExplainedBlock> blocks = cachestore::Explain(core_, ns.id, keys, chain.words);
  if (chain.words.size() < prompt.words().size()) {
    blocks.push_back({.key = {}, .verdict = BlockVerdict::kPartial, .left_at = {}});
  }
  return blocks;
}

}  // namespace reprise::cachestore
