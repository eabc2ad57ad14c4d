#include <iostream>
#include <memory>
#include <string>

#include "api/cli/commands.h"
#include "engine/model/demo_model.h"

namespace reprise::api {
namespace {

struct MakeModelFlags {
  engine::DemoModelOptions model;
  std::string dtype = "fp32";
  std::string out;
};

int RunMakeModel(const MakeModelFlags& flags) {
  engine::DemoModelOptions options = flags.model;
  if (flags.dtype == "bf16") options.dtype = engine::ElementType::kBF16;
  if (const absl::Status usage = options.Validate(); !usage.ok()) {
    ExitCode("make-model", usage);
    return kExitUsage;
  }
  const absl::Status written = engine::WriteDemoModel(options, flags.out);
  if (written.ok()) std::cout << "wrote " << flags.out << std::endl;
  return ExitCode("make-model", written);
}

}  // namespace

void AddMakeModelCommand(FlagSet& program) {
  FlagSet& command = program.AddCommand(
      "make-model", "write a demo model: seeded random weights in a Hugging Face folder");
  const auto flags = std::make_shared<MakeModelFlags>();
  engine::DemoModelOptions& model = flags->model;
  command.Add("out", &flags->out, "DIR", "folder to write, made when missing");
  command.Require("out");
  command.Add("family", &model.family, "NAME", "llama, gpt2 or qwen2");
  command.Add("vocab-size", &model.vocab_size, "N", "at least 259: 256 bytes, 3 special tokens");
  command.Add("hidden-size", &model.hidden_size, "N", "width of a layer");
  command.Add("layers", &model.num_layers, "N", "layers");
  command.Add("heads", &model.num_heads, "N", "query heads");
  command.Add("kv-heads", &model.num_kv_heads, "N", "key and value heads; gpt2: as many as heads");
  command.Add("intermediate-size", &model.intermediate_size, "N", "width of the MLP");
  command.Add("max-positions", &model.max_positions, "N", "context, in tokens");
  command.Add("dtype", &flags->dtype, "NAME", "of the weights: fp32 or bf16");
  command.Choose("dtype", {"fp32", "bf16"});
  command.Add("seed", &model.seed, "N", "same flags, same seed: same bytes");
  command.SetExamples(
      "Its text means nothing; computing it costs what a trained model of that shape costs. The\n"
      "tokenizer has a token for every byte. A folder that has a config.json is left alone.\n\n"
      "Examples:\n"
      "  reprise make-model --out demo                 # a Llama of 104 million parameters\n"
      "  reprise make-model --out gpt2-small --family gpt2 --kv-heads 12 --vocab-size 50257 \\\n"
      "    --max-positions 1024\n");
  command.SetAction([flags] { return RunMakeModel(*flags); });
}

}  // namespace reprise::api
