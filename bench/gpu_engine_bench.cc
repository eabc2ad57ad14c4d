#include "bench/gpu_engine_bench.h"

#include "absl/strings/str_cat.h"
#include "bench/generated_model.h"
#include "bench/gpu_engine_rows.h"
#include "bench/row_groups.h"
#include "bench/synthetic.h"
#include "bench/temp_folder.h"
#include "cachestore/base/status_macros.h"

namespace reprise::bench {
namespace {

// The same code in a size that an emulation computes.
engine::DemoModelOptions Tiny() {
  engine::DemoModelOptions options;
  options.vocab_size = 512;
  options.hidden_size = 128;
  options.num_layers = 2;
  options.num_heads = 2;
  options.num_kv_heads = 1;
  options.intermediate_size = 128;
  options.max_positions = 1024;
  options.dtype = engine::ElementType::kBF16;
  return options;
}

}  // namespace

int64_t CardChunkTokens(Extent extent) { return ByExtent<int64_t>(extent, 64, 2048); }

std::vector<uint32_t> CardPrompt(const GpuEngineSetting& setting, uint64_t number, int64_t length) {
  std::vector<uint32_t> prompt = SyntheticTokens(number, length);
  for (uint32_t& token : prompt) token %= static_cast<uint32_t>(setting.model.vocab_size);
  return prompt;
}

absl::StatusOr<std::vector<Result>> RunGpuEngineBench(const GpuEngineBenchOptions& options,
                                                      const GpuEngineBed& bed) {
  ASSIGN_OR_RETURN(const TempFolder temp, TempFolder::Make("reprise-bench-gpu-engine"));
  const bool is_quick = options.extent == Extent::kQuick;
  const GpuEngineSetting setting = {options, bed, temp.path() + "/model",
                                    is_quick ? Tiny() : LlamaOf8B()};
  RETURN_IF_ERROR(engine::WriteDemoDescription(setting.model, setting.folder));
  std::vector<RowGroup> groups;
  for (const int batch : {1, 8, 64}) {
    groups.push_back({absl::StrCat("decode_", batch),
                      [&setting, batch] { return MeasureCardDecode(setting, batch); }});
  }
  const struct {
    const char* name;
    int64_t tokens;
    int64_t quick_tokens;
    double least_speedup;
  } hits[] = {
      {"ttft_1k", 1024, 96, 2.5}, {"ttft_16k", 16384, 112, 0}, {"ttft_100k", 100000, 128, 20}};
  for (const auto& hit : hits) {
    groups.push_back({hit.name, [&setting, &hit, is_quick] {
                        return MeasureCardHit(setting, is_quick ? hit.quick_tokens : hit.tokens,
                                              hit.least_speedup);
                      }});
  }
  return RunGroups(groups, options.groups, options.extent);
}

}  // namespace reprise::bench
