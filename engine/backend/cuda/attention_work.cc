#include "engine/backend/cuda/attention_work.h"

#include <algorithm>

#include "cachestore/base/check.h"
#include "cachestore/base/status_macros.h"
#include "engine/backend/cuda/device_memory.h"
#include "engine/backend/cuda/kernels/launchers.h"
#include "engine/backend/cuda/kv_description.h"
#include "engine/backend/cuda/launch_status.h"

namespace reprise::engine::cuda {
namespace {

constexpr float kLog2E = 1.44269504f;

// The rows that are alone in their sequence, and which rows of the batch they are.
struct SingleRows {
  std::vector<AttentionRow> rows;
  std::vector<int32_t> places;
};

SingleRows SinglesOf(const UploadedRows& rows) {
  SingleRows singles;
  for (const PrefillRows& sequence : rows.sequences) {
    if (sequence.num_rows != 1) continue;
    singles.rows.push_back(rows.rows[sequence.first_row]);
    singles.places.push_back(sequence.first_row);
  }
  return singles;
}

// What the single rows share; its rows are those of the batch.
CascadePlan PlanShared(const StepUpload& step, const UploadedRows& rows, const SingleRows& singles,
                       int group, int num_blocks) {
  std::vector<PrefixGroup> groups = FindPrefixGroups(
      singles.rows, step.host_table(), step.table_stride(), step.layout().block_tokens);
  for (PrefixGroup& shared : groups) {
    for (int32_t& row : shared.rows) row = singles.places[row];
  }
  return PlanCascade(groups, rows.rows, step.layout().num_kv_heads, group, num_blocks);
}

// The decode plan of the single rows, behind their prefixes; its rows are those of the batch.
DecodePlan PlanSingles(const SingleRows& singles, const CascadePlan& cascade, int head_tiles,
                       int32_t window, int num_blocks) {
  if (singles.rows.empty()) return {};
  std::vector<int32_t> prefixes;
  for (const int32_t place : singles.places) prefixes.push_back(cascade.prefixes[place]);
  DecodePlan plan = PlanDecode(singles.rows, head_tiles, window, num_blocks, prefixes);
  for (DecodeSegment& segment : plan.segments) segment.row = singles.places[segment.row];
  return plan;
}

PrefillPlan PlanChunks(const UploadedRows& rows, int kv_heads, int group, int32_t window,
                       int num_blocks, PrefillKernel kernel) {
  std::vector<PrefillRows> chunks;
  for (const PrefillRows& sequence : rows.sequences) {
    if (sequence.num_rows > 1) chunks.push_back(sequence);
  }
  if (chunks.empty()) return {};
  return PlanPrefill(chunks, kv_heads, group, window, num_blocks, TilingOf(kernel));
}

}  // namespace

absl::Status AttentionWork::Attend(const StepUpload& step, StepRows which, int32_t layer,
                                   const AttentionScheme& scheme, Activations q, Activations out,
                                   StepLaunches& launches) {
  const cachestore::KvLayout& layout = step.layout();
  const UploadedRows& rows = step.rows(which);
  CHECK(q.rows == std::ssize(rows.rows) && q.cols % layout.head_dim == 0);
  CHECK(out.rows == q.rows && out.cols == q.cols);
  heads_ = static_cast<int32_t>(q.cols / layout.head_dim);
  window_ = scheme.window > 0 ? static_cast<int32_t>(scheme.window) : kNoWindow;
  const bool fits = FitsTensorCores(layout) && scheme.softcap == 0 &&
                    heads_ / layout.num_kv_heads <= kPrefillPairs;
  if (!fits) {
    return launches.Give(KernelOp<GenericAttentionParams>{
        GenericOf(rows, step.kv(layer), scheme, q, out), static_cast<int>(q.rows)});
  }
  if (!is_planned_) RETURN_IF_ERROR(Plan(step, rows));
  is_planned_ = true;
  // Their launches are as large as the plan.
  if (num_grouped_ > 0 || chunks_.count > 0) RETURN_IF_ERROR(launches.GiveAll());
  return LaunchPlanned(rows, step.kv(layer), step.arena_bytes(), scheme, q, out, launches);
}

absl::Status AttentionWork::Plan(const StepUpload& step, const UploadedRows& rows) {
  const cachestore::KvLayout& layout = step.layout();
  RETURN_IF_ERROR(LaunchStatus(
      DecodeAttentionBlocks(static_cast<KvType>(layout.dtype), layout.head_dim, &num_blocks_),
      "decode attention"));
  head_tiles_ = HeadTiles(heads_, layout.num_kv_heads);
  prefill_ = ChoosePrefill(wanted_, step.kv(0));
  const int group = heads_ / layout.num_kv_heads;
  const SingleRows singles = SinglesOf(rows);
  CascadePlan cascade = {.prefixes = std::vector<int32_t>(rows.rows.size())};
  // The prefill kernels have about as many blocks at once; their plans only want enough of them.
  if (window_ == kNoWindow) cascade = PlanShared(step, rows, singles, group, num_blocks_);
  return Send(rows.rows.size(), PlanSingles(singles, cascade, head_tiles_, window_, num_blocks_),
              cascade, PlanChunks(rows, layout.num_kv_heads, group, window_, num_blocks_, prefill_),
              layout.head_dim);
}

absl::Status AttentionWork::Send(size_t num_rows, const DecodePlan& decode,
                                 const CascadePlan& cascade, const PrefillPlan& prefill,
                                 int head_dim) {
  const PrefillPlan& shared = cascade.prefix_items;
  // Zeroed at every step, so that one that failed leaves nothing behind.
  const std::vector<uint32_t> decode_counters(num_rows * head_tiles_);
  const std::vector<uint32_t> prefill_counters(std::max(prefill.num_counters, shared.num_counters));
  // Room for the most segments that there can be, so that what lies behind them, and the states,
  // lie where they did at the step before.
  RETURN_IF_ERROR(upload_.Begin(UploadBuffer::RoomFor<DecodeSegment>(decode.most_segments) +
                                UploadBuffer::RoomFor<int32_t>(decode.first_segment.size()) +
                                UploadBuffer::RoomFor<uint32_t>(decode_counters.size()) +
                                UploadBuffer::RoomFor<int32_t>(cascade.prefixes.size()) +
                                UploadBuffer::RoomFor<int32_t>(cascade.row_list.size()) +
                                UploadBuffer::RoomFor<PrefillItem>(shared.items.size()) +
                                UploadBuffer::RoomFor<PrefillItem>(prefill.items.size()) +
                                UploadBuffer::RoomFor<uint32_t>(prefill_counters.size())));
  segments_ = upload_.Put(absl::MakeConstSpan(decode.segments), decode.most_segments);
  first_segment_ = upload_.Put(absl::MakeConstSpan(decode.first_segment));
  decode_counters_ = upload_.Put(absl::MakeConstSpan(decode_counters));
  prefixes_ = upload_.Put(absl::MakeConstSpan(cascade.prefixes));
  row_list_ = upload_.Put(absl::MakeConstSpan(cascade.row_list));
  shared_.items = upload_.Put(absl::MakeConstSpan(shared.items));
  chunks_.items = upload_.Put(absl::MakeConstSpan(prefill.items));
  // A launch leaves them 0 for the next one.
  chunks_.counters = shared_.counters = upload_.Put(absl::MakeConstSpan(prefill_counters));
  RETURN_IF_ERROR(upload_.Send());
  decodes_ = !decode.segments.empty();
  num_grouped_ = static_cast<int>(cascade.row_list.size());
  shared_.count = static_cast<int>(shared.items.size());
  chunks_.count = static_cast<int>(prefill.items.size());
  const int64_t states =
      std::max({decode.most_segments * kTileHeads, prefill.num_states * TilingOf(prefill_).pairs,
                shared.num_states * kPrefillPairs});
  RETURN_IF_ERROR(Grow(device_, states * (head_dim + 2) * sizeof(float), &states_));
  if (num_grouped_ == 0) return absl::OkStatus();
  part_floats_ = static_cast<int64_t>(num_rows) * heads_ * (head_dim + 2);
  return Grow(device_, kCascadeParts * part_floats_ * sizeof(float), &row_states_);
}

absl::Status AttentionWork::LaunchPlanned(const UploadedRows& rows, const PagedKv& kv,
                                          int64_t arena_bytes, const AttentionScheme& scheme,
                                          Activations q, Activations out, StepLaunches& launches) {
  CHECK(scheme.scale > 0);
  const float scale_log2 = scheme.scale * kLog2E;
  if (num_grouped_ > 0) {
    PrefillParams params = ItemParams(shared_, kv, scale_log2, q, out);
    params.row_list = row_list_;
    params.row_states = reinterpret_cast<float*>(row_states_.bytes().data());
    RETURN_IF_ERROR(launches.Give(KernelOp<PrefillParams>{params, shared_.count}));
  }
  if (decodes_) {
    RETURN_IF_ERROR(
        launches.Give(KernelOp<DecodeParams>{DecodeOf(rows, kv, scale_log2, q, out), num_blocks_}));
  }
  if (num_grouped_ > 0) {
    RETURN_IF_ERROR(
        launches.Give(KernelOp<MergeStatesParams>{MergeOf(kv.head_dim, out), num_grouped_}));
  }
  if (chunks_.count == 0) return absl::OkStatus();
  const PrefillParams params = ItemParams(chunks_, kv, scale_log2, q, out);
  if (prefill_ == PrefillKernel::kSm90) {
    return launches.Give(PrefillSm90Op{params, arena_bytes, chunks_.count});
  }
  return launches.Give(KernelOp<PrefillParams>{params, chunks_.count});
}

DecodeParams AttentionWork::DecodeOf(const UploadedRows& rows, const PagedKv& kv, float scale_log2,
                                     Activations q, Activations out) {
  DecodeParams params;
  params.q = q.data;
  params.out = out.data;
  params.kv = kv;
  params.rows = rows.on_device;
  params.segments = segments_;
  params.first_segment = first_segment_;
  params.states = reinterpret_cast<float*>(states_.bytes().data());
  params.counters = decode_counters_;
  if (num_grouped_ > 0) {
    params.prefixes = prefixes_;
    params.row_states = reinterpret_cast<float*>(row_states_.bytes().data()) + part_floats_;
  }
  params.heads = heads_;
  params.head_tiles = head_tiles_;
  params.window = window_;
  params.scale_log2 = scale_log2;
  return params;
}

PrefillParams AttentionWork::ItemParams(const Items& items, const PagedKv& kv, float scale_log2,
                                        Activations q, Activations out) {
  PrefillParams params;
  params.q = q.data;
  params.out = out.data;
  params.kv = kv;
  params.items = items.items;
  params.states = reinterpret_cast<float*>(states_.bytes().data());
  params.counters = items.counters;
  params.heads = heads_;
  params.window = window_;
  params.scale_log2 = scale_log2;
  return params;
}

MergeStatesParams AttentionWork::MergeOf(int head_dim, Activations out) {
  MergeStatesParams params;
  params.states = reinterpret_cast<float*>(row_states_.bytes().data());
  params.part_stride = part_floats_;
  params.parts = kCascadeParts;
  params.rows = row_list_;
  params.out = out.data;
  params.heads = heads_;
  params.head_dim = head_dim;
  return params;
}

GenericAttentionParams AttentionWork::GenericOf(const UploadedRows& rows, const PagedKv& kv,
                                                const AttentionScheme& scheme, Activations q,
                                                Activations out) {
  GenericAttentionParams params;
  params.q = q.data;
  params.out = out.data;
  params.kv = kv;
  params.rows = rows.on_device;
  params.heads = heads_;
  params.window = window_;
  params.scale_log2 = scheme.scale * kLog2E;
  params.softcap_log2 = scheme.softcap * kLog2E;
  return params;
}

}  // namespace reprise::engine::cuda
