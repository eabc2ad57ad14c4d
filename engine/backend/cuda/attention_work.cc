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

// The decode plan of the rows that are alone in their sequence; its rows are those of the batch.
DecodePlan PlanSingles(const UploadedRows& rows, int head_tiles, int32_t window, int num_blocks) {
  std::vector<AttentionRow> singles;
  std::vector<int32_t> places;
  for (const PrefillRows& sequence : rows.sequences) {
    if (sequence.num_rows != 1) continue;
    singles.push_back(rows.rows[sequence.first_row]);
    places.push_back(sequence.first_row);
  }
  if (singles.empty()) return {};
  DecodePlan plan = PlanDecode(singles, head_tiles, window, num_blocks);
  for (DecodeSegment& segment : plan.segments) segment.row = places[segment.row];
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

cudaStream_t AttentionWork::stream() {
  return static_cast<cudaStream_t>(device_->Stream(cachestore::Lane::kCompute));
}

absl::Status AttentionWork::Attend(const StepUpload& step, StepRows which, int32_t layer,
                                   const AttentionScheme& scheme, Activations q, Activations out) {
  const cachestore::KvLayout& layout = step.layout();
  const UploadedRows& rows = step.rows(which);
  CHECK(q.rows == std::ssize(rows.rows) && q.cols % layout.head_dim == 0);
  CHECK(out.rows == q.rows && out.cols == q.cols);
  heads_ = static_cast<int32_t>(q.cols / layout.head_dim);
  window_ = scheme.window > 0 ? static_cast<int32_t>(scheme.window) : kNoWindow;
  const bool fits = FitsTensorCores(layout) && scheme.softcap == 0 &&
                    heads_ / layout.num_kv_heads <= kPrefillPairs;
  if (!fits) return LaunchGeneric(rows, step.kv(layer), scheme, q, out);
  if (!is_planned_) RETURN_IF_ERROR(Plan(step, rows));
  is_planned_ = true;
  return LaunchPlanned(rows, step.kv(layer), step.arena_bytes(), scheme, q, out);
}

absl::Status AttentionWork::Plan(const StepUpload& step, const UploadedRows& rows) {
  const cachestore::KvLayout& layout = step.layout();
  RETURN_IF_ERROR(LaunchStatus(
      DecodeAttentionBlocks(static_cast<KvType>(layout.dtype), layout.head_dim, &num_blocks_),
      "decode attention"));
  head_tiles_ = HeadTiles(heads_, layout.num_kv_heads);
  prefill_ = ChoosePrefill(wanted_, step.kv(0));
  // The prefill kernel has about as many blocks at once; its plan only wants enough of them.
  return Send(rows.rows.size(), PlanSingles(rows, head_tiles_, window_, num_blocks_),
              PlanChunks(rows, layout.num_kv_heads, heads_ / layout.num_kv_heads, window_,
                         num_blocks_, prefill_),
              layout.head_dim);
}

absl::Status AttentionWork::Send(size_t num_rows, const DecodePlan& decode,
                                 const PrefillPlan& prefill, int head_dim) {
  // Zeroed at every step, so that one that failed leaves nothing behind.
  const std::vector<uint32_t> decode_counters(num_rows * head_tiles_);
  const std::vector<uint32_t> prefill_counters(prefill.num_counters);
  RETURN_IF_ERROR(upload_.Begin(UploadBuffer::RoomFor<DecodeSegment>(decode.segments.size()) +
                                UploadBuffer::RoomFor<int32_t>(decode.first_segment.size()) +
                                UploadBuffer::RoomFor<uint32_t>(decode_counters.size()) +
                                UploadBuffer::RoomFor<PrefillItem>(prefill.items.size()) +
                                UploadBuffer::RoomFor<uint32_t>(prefill_counters.size())));
  segments_ = upload_.Put(absl::MakeConstSpan(decode.segments));
  first_segment_ = upload_.Put(absl::MakeConstSpan(decode.first_segment));
  decode_counters_ = upload_.Put(absl::MakeConstSpan(decode_counters));
  items_ = upload_.Put(absl::MakeConstSpan(prefill.items));
  prefill_counters_ = upload_.Put(absl::MakeConstSpan(prefill_counters));
  RETURN_IF_ERROR(upload_.Send());
  decodes_ = !decode.segments.empty();
  num_items_ = static_cast<int>(prefill.items.size());
  const int64_t states =
      std::max(decode.num_states * kTileHeads, prefill.num_states * TilingOf(prefill_).pairs);
  return Grow(device_, states * (head_dim + 2) * sizeof(float), &states_);
}

absl::Status AttentionWork::LaunchPlanned(const UploadedRows& rows, const PagedKv& kv,
                                          int64_t arena_bytes, const AttentionScheme& scheme,
                                          Activations q, Activations out) {
  auto* const states = reinterpret_cast<float*>(states_.bytes().data());
  if (decodes_) {
    DecodeParams params;
    params.q = q.data;
    params.out = out.data;
    params.kv = kv;
    params.rows = rows.on_device;
    params.segments = segments_;
    params.first_segment = first_segment_;
    params.states = states;
    params.counters = decode_counters_;
    params.heads = heads_;
    params.head_tiles = head_tiles_;
    params.window = window_;
    params.scale_log2 = scheme.scale * kLog2E;
    RETURN_IF_ERROR(
        LaunchStatus(LaunchDecodeAttention(params, num_blocks_, stream()), "decode attention"));
  }
  if (num_items_ == 0) return absl::OkStatus();
  PrefillParams params;
  params.q = q.data;
  params.out = out.data;
  params.kv = kv;
  params.items = items_;
  params.states = states;
  params.counters = prefill_counters_;
  params.heads = heads_;
  params.window = window_;
  params.scale_log2 = scheme.scale * kLog2E;
  if (prefill_ == PrefillKernel::kSm90) {
    return LaunchStatus(LaunchPrefillSm90(params, arena_bytes, num_items_, stream()),
                        "prefill attention of compute capability 9.0");
  }
  return LaunchStatus(LaunchPrefillAttention(params, num_items_, stream()), "prefill attention");
}

absl::Status AttentionWork::LaunchGeneric(const UploadedRows& rows, const PagedKv& kv,
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
  return LaunchStatus(LaunchGenericAttention(params, static_cast<int>(q.rows), stream()),
                      "generic attention");
}

}  // namespace reprise::engine::cuda
