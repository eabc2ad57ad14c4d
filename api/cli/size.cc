#include <cstdint>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "api/cli/commands.h"
#include "api/cli/table.h"
#include "cachestore/base/status_macros.h"
#include "cachestore/block/kv_layout.h"
#include "engine/model/kv_size.h"

namespace reprise::api {
namespace {

using cachestore::DType;

struct SizeFlags {
  std::string model;
  std::string dtype = "fp16";
  int64_t tokens = 4096;
  int64_t batch = 1;
  bool all_dtypes = false;
};

absl::Status PrintByVariant(const engine::KvGeometry& geometry, const SizeFlags& flags,
                            const std::vector<DType>& dtypes) {
  Table table({"heads", "kv heads", "dtype", "bytes per token", "bytes", "size", "model"});
  for (const engine::KvVariant& variant : engine::KvVariants(geometry)) {
    for (const DType dtype : dtypes) {
      ASSIGN_OR_RETURN(
          const int64_t per_token,
          engine::KvBytes(variant.geometry, {.tokens = 1, .batch = 1, .dtype = dtype}));
      ASSIGN_OR_RETURN(
          const int64_t bytes,
          engine::KvBytes(variant.geometry,
                          {.tokens = flags.tokens, .batch = flags.batch, .dtype = dtype}));
      table.AddRow({variant.name, WithThousands(variant.geometry.num_kv_heads),
                    std::string(cachestore::DTypeName(dtype)), WithThousands(per_token),
                    WithThousands(bytes), BytesText(bytes), variant.is_own ? "this one" : ""});
    }
  }
  table.Print(std::cout);
  return absl::OkStatus();
}

absl::Status RunSize(const SizeFlags& flags) {
  ASSIGN_OR_RETURN(const engine::KvGeometry geometry, engine::FindKvGeometry(flags.model));
  std::vector<DType> dtypes(std::begin(cachestore::kAllDTypes), std::end(cachestore::kAllDTypes));
  if (!flags.all_dtypes) {
    ASSIGN_OR_RETURN(const DType dtype, cachestore::DTypeFromName(flags.dtype));
    dtypes = {dtype};
  }
  std::cout << geometry.name << ": " << geometry.num_layers << " layers, " << geometry.num_heads
            << " heads, " << geometry.num_kv_heads << " kv heads, head dim " << geometry.head_dim
            << "; " << WithThousands(flags.tokens) << " tokens, batch "
            << WithThousands(flags.batch) << "\n\n";
  return PrintByVariant(geometry, flags, dtypes);
}

std::vector<std::string> DTypeNames() {
  std::vector<std::string> names;
  for (const DType dtype : cachestore::kAllDTypes) names.emplace_back(cachestore::DTypeName(dtype));
  return names;
}

std::string PresetNames() {
  return absl::StrJoin(engine::KvPresets(), ", ",
                       [](std::string* out, const engine::KvGeometry& preset) {
                         absl::StrAppend(out, preset.name);
                       });
}

}  // namespace

void AddSizeCommand(FlagSet& program) {
  FlagSet& command = program.AddCommand("size", "how much memory the KV of a model takes");
  const auto flags = std::make_shared<SizeFlags>();
  command.Add("model", &flags->model, "NAME|DIR",
              absl::StrCat("a Hugging Face folder, or one of ", PresetNames()));
  command.Require("model");
  command.Add("tokens", &flags->tokens, "N", "tokens per sequence");
  command.AtLeast("tokens", 1);
  command.Add("batch", &flags->batch, "N", "sequences");
  command.AtLeast("batch", 1);
  command.Add("dtype", &flags->dtype, "NAME", absl::StrJoin(DTypeNames(), ", "));
  command.Choose("dtype", DTypeNames());
  command.AddSwitch("all-dtypes", &flags->all_dtypes,
                    "one row for every dtype, whatever --dtype says");
  command.SetExamples(
      "2 (K and V) x layers x kv heads x tokens x batch x (head dim x bytes of the dtype + "
      "scales), with\n"
      "the scales that blocks of int8 and int4 have; as the model shares its heads, and as it "
      "would be\n"
      "with MHA, GQA and MQA.\n\n"
      "Examples:\n"
      "  reprise size --model llama-7b --tokens 4096 --batch 32\n"
      "  reprise size --model models/qwen --tokens 32768 --all-dtypes\n");
  command.SetAction([flags] { return ExitCode("size", RunSize(*flags)); });
}

}  // namespace reprise::api
