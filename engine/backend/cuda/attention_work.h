// AttentionWork: attention of a step's rows for layers of one window. Chooses the kernels and plans
// them at the step's first layer; the others take the same plan:
//
//     a single row of a sequence     decode kernel
//     several rows of a sequence     prefill kernel: the one that is wanted, where it takes the KV
//     single rows that share a prefix, without a window     cascade (cascade_plan.h)
//     KV, group or cap that these do not take     generic kernel, for all rows
//
// Owns the plan on the device and the room for states. Thread-compatible.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "cachestore/memory/device.h"
#include "engine/backend/backend.h"
#include "engine/backend/cuda/cascade_plan.h"
#include "engine/backend/cuda/decode_plan.h"
#include "engine/backend/cuda/kernels/launchers.h"
#include "engine/backend/cuda/prefill_kernel.h"
#include "engine/backend/cuda/prefill_plan.h"
#include "engine/backend/cuda/step_launches.h"
#include "engine/backend/cuda/step_upload.h"
#include "engine/backend/cuda/upload_buffer.h"

namespace reprise::engine::cuda {

class AttentionWork {
 public:
  // `device` must outlive it.
  AttentionWork(cachestore::Device* device, PrefillKernel wanted)
      : device_(device), wanted_(wanted), upload_(device) {}

  // Another step: the plan is of the past.
  void Forget() { is_planned_ = false; }

  // Gives `launches` Backend::Attention of `which` rows of `step` at `layer`. The window, the heads
  // and whether there is a cap are the same until Forget. For single rows that share no prefix, as
  // many as before in a table as wide, the operations are those of the step before, on other plans;
  // other steps are given at once. Errors of planning, and of starting kernels.
  absl::Status Attend(const StepUpload& step, StepRows which, int32_t layer,
                      const AttentionScheme& scheme, Activations q, Activations out,
                      StepLaunches& launches);

 private:
  // A plan of the prefill kernel on the device.
  struct Items {
    int count = 0;
    const PrefillItem* items = nullptr;
    uint32_t* counters = nullptr;
  };

  absl::Status Plan(const StepUpload& step, const UploadedRows& rows);
  // The plans on the device, and room for their states.
  absl::Status Send(size_t num_rows, const DecodePlan& decode, const CascadePlan& cascade,
                    const PrefillPlan& prefill, int head_dim);
  absl::Status LaunchPlanned(const UploadedRows& rows, const PagedKv& kv, int64_t arena_bytes,
                             const AttentionScheme& scheme, Activations q, Activations out,
                             StepLaunches& launches);
  DecodeParams DecodeOf(const UploadedRows& rows, const PagedKv& kv, float scale_log2,
                        Activations q, Activations out);
  // What a prefill kernel is launched with for `items`, over all rows.
  PrefillParams ItemParams(const Items& items, const PagedKv& kv, float scale_log2, Activations q,
                           Activations out);
  MergeStatesParams MergeOf(int head_dim, Activations out);
  GenericAttentionParams GenericOf(const UploadedRows& rows, const PagedKv& kv,
                                   const AttentionScheme& scheme, Activations q, Activations out);

  cachestore::Device* const device_;
  const PrefillKernel wanted_;
  UploadBuffer upload_;
  cachestore::DeviceBytes states_;      // of all kernels, which run one after the other
  cachestore::DeviceBytes row_states_;  // [kCascadeParts][rows][heads][head_dim + 2]

  bool is_planned_ = false;
  // Of the plan.
  int32_t heads_ = 0;
  int32_t window_ = 0;
  int32_t head_tiles_ = 0;
  int num_blocks_ = 0;                           // of the decode kernel that run at once
  int num_grouped_ = 0;                          // rows
  PrefillKernel prefill_ = PrefillKernel::kMma;  // of chunks_
  bool decodes_ = false;
  int64_t part_floats_ = 0;  // of row_states_
  // On the device.
  const DecodeSegment* segments_ = nullptr;
  const int32_t* first_segment_ = nullptr;
  uint32_t* decode_counters_ = nullptr;
  const int32_t* prefixes_ = nullptr;
  const int32_t* row_list_ = nullptr;  // [num_grouped_]
  Items chunks_;
  Items shared_;  // the prefixes of row_list_
};

}  // namespace reprise::engine::cuda
