#include "bench/kvquant_bench.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "bench/machine.h"
#include "bench/progress.h"
#include "bench/synthetic.h"
#include "bench/temp_folder.h"
#include "cachestore/base/status_macros.h"
#include "engine/backend/backend.h"
#include "engine/backend/kv_format.h"
#include "engine/model/demo_model.h"
#include "engine/model/model.h"

namespace reprise::bench {
namespace {

using cachestore::DType;

// One sequence whose KV is kept in one format.
class Sequence {
 public:
  Sequence(engine::Model* model, DType dtype, int64_t max_tokens)
      : model_(model), layout_(engine::WithDType(model->layout(kBlockTokens), dtype)) {
    for (int64_t t = 0; t < max_tokens; t += kBlockTokens) {
      memory_.emplace_back(layout_.BytesPerBlock());
      blocks_.push_back(memory_.back().data());
    }
  }

  // Computes the next tokens; returns the logits of the last one.
  absl::StatusOr<absl::Span<const float>> Append(absl::Span<const uint32_t> tokens) {
    const engine::SequenceChunk chunk{
        .tokens = tokens, .start = computed_, .blocks = blocks_, .wants_logits = true};
    ASSIGN_OR_RETURN(const engine::Activations logits, model_->Forward({&chunk, 1}, layout_));
    computed_ += static_cast<int64_t>(tokens.size());
    return absl::MakeConstSpan(logits.data, logits.cols);
  }

  double BytesPerToken() const {
    return static_cast<double>(layout_.BytesPerBlock()) / layout_.block_tokens;
  }

 private:
  engine::Model* const model_;
  const cachestore::KvLayout layout_;
  std::vector<std::vector<std::byte>> memory_;
  std::vector<std::byte*> blocks_;
  int64_t computed_ = 0;
};

uint32_t Likeliest(absl::Span<const float> logits) {
  return static_cast<uint32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

// How far logits are from others, over many tokens.
class Distance {
 public:
  void Add(absl::Span<const float> exact, absl::Span<const float> rounded) {
    for (size_t i = 0; i < exact.size(); ++i) {
      const double difference = double{rounded[i]} - exact[i];
      error_ += difference * difference;
      total_ += double{exact[i]} * exact[i];
    }
    const bool agrees = Likeliest(exact) == Likeliest(rounded);
    if (agrees && agreed_ == tokens_) ++agreed_at_first_;
    agreed_ += agrees ? 1 : 0;
    ++tokens_;
  }

  double RelativeL2() const { return std::sqrt(error_ / total_); }
  double Agreement() const { return static_cast<double>(agreed_) / static_cast<double>(tokens_); }
  // Greedy tokens before the first that differs: what a run of its own would have in common.
  int64_t agreed_at_first() const { return agreed_at_first_; }

 private:
  double error_ = 0, total_ = 0;
  int64_t tokens_ = 0, agreed_ = 0, agreed_at_first_ = 0;
};

// One model, and the text that it chooses with f32 KV.
class Subject {
 public:
  Subject(const KvQuantBenchOptions& options, engine::Model* model)
      : model_(model), max_tokens_(options.prompt_tokens + options.new_tokens) {
    Random random(3);
    for (int64_t i = 0; i < options.prompt_tokens; ++i) {
      text_.push_back(static_cast<uint32_t>(random.Below(model->config().vocab_size)));
    }
    prompt_tokens_ = options.prompt_tokens;
  }

  // Chooses the text, and keeps the logits of each of its tokens.
  absl::Status Generate() {
    Sequence sequence(model_, DType::kF32, max_tokens_);
    absl::Span<const uint32_t> next = text_;
    while (static_cast<int64_t>(text_.size()) < max_tokens_) {
      ASSIGN_OR_RETURN(const absl::Span<const float> logits, sequence.Append(next));
      exact_.emplace_back(logits.begin(), logits.end());
      text_.push_back(Likeliest(logits));
      next = absl::MakeConstSpan(text_).last(1);
    }
    return absl::OkStatus();
  }

  // Reads the same text with KV in `dtype`.
  absl::StatusOr<std::vector<Result>> Measure(DType dtype) const {
    Sequence sequence(model_, dtype, max_tokens_);
    absl::Span<const uint32_t> next = absl::MakeConstSpan(text_).first(prompt_tokens_);
    Distance distance;
    for (const std::vector<float>& exact : exact_) {
      ASSIGN_OR_RETURN(const absl::Span<const float> logits, sequence.Append(next));
      distance.Add(exact, logits);
      next = absl::MakeConstSpan(text_).subspan(next.end() - text_.data(), 1);
    }
    const auto row = [&](absl::string_view metric, absl::string_view unit, double ours) {
      const engine::ModelConfig& config = model_->config();
      Result result{.metric = absl::StrCat("kvquant.", metric, ".", config.family, ".",
                                           cachestore::DTypeName(dtype)),
                    .unit = std::string(unit),
                    .ours = ours};
      result.context = {{"layers", absl::StrCat(config.num_layers)},
                        {"kv_heads", absl::StrCat(config.num_kv_heads)},
                        {"head_dim", absl::StrCat(config.head_dim)},
                        {"prompt_tokens", absl::StrCat(prompt_tokens_)},
                        {"compared_tokens", absl::StrCat(exact_.size())},
                        {"machine", MachineInWords()}};
      return result;
    };
    std::vector<Result> rows = {row("bytes_per_token", "bytes", sequence.BytesPerToken()),
                                row("logit_error", "relative L2", distance.RelativeL2()),
                                row("greedy_agreement", "share", distance.Agreement())};
    rows.back().context["agreed_at_first"] = absl::StrCat(distance.agreed_at_first());
    return rows;
  }

 private:
  engine::Model* const model_;
  const int64_t max_tokens_;
  int64_t prompt_tokens_ = 0;
  std::vector<uint32_t> text_;             // prompt, then what was chosen
  std::vector<std::vector<float>> exact_;  // logits before each token that was chosen
};

// Large enough for heads of the usual 64 dims and for errors to build up over layers.
engine::DemoModelOptions DemoOptions(const std::string& family, Extent extent) {
  engine::DemoModelOptions options;
  options.family = family;
  options.vocab_size = 1024;
  options.hidden_size = 512;
  options.num_layers = ByExtent(extent, 2, 12);
  options.num_heads = 8;
  options.num_kv_heads = family == "gpt2" ? 8 : 2;
  options.intermediate_size = 1536;
  options.max_positions = 2048;
  return options;
}

absl::StatusOr<std::vector<Result>> MeasureModel(const KvQuantBenchOptions& options,
                                                 const std::string& folder,
                                                 engine::Backend* backend) {
  ASSIGN_OR_RETURN(const std::unique_ptr<engine::Model> model, engine::LoadModel(folder, backend));
  Subject subject(options, model.get());
  Progress progress(absl::StrCat("kvquant ", model->config().family),
                    std::size(cachestore::kAllDTypes) + 1);
  RETURN_IF_ERROR(subject.Generate());
  std::vector<Result> rows;
  int64_t done = 1;
  for (const DType dtype : cachestore::kAllDTypes) {
    progress.Update(done++, cachestore::DTypeName(dtype));
    ASSIGN_OR_RETURN(std::vector<Result> measured, subject.Measure(dtype));
    std::move(measured.begin(), measured.end(), std::back_inserter(rows));
  }
  return rows;
}

}  // namespace

absl::StatusOr<std::vector<Result>> RunKvQuantBench(const KvQuantBenchOptions& options) {
  const std::unique_ptr<engine::Backend> backend = engine::NewCpuBackend(options.num_threads);
  ASSIGN_OR_RETURN(const TempFolder temp, TempFolder::Make("reprise-bench-kvquant"));
  std::vector<std::string> folders = options.model_folders;
  if (folders.empty()) {
    for (const std::string family : {"gpt2", "llama", "qwen2"}) {
      folders.push_back(absl::StrCat(temp.path(), "/", family));
      RETURN_IF_ERROR(engine::WriteDemoModel(DemoOptions(family, options.extent), folders.back()));
    }
  }
  std::vector<Result> rows;
  for (const std::string& folder : folders) {
    ASSIGN_OR_RETURN(std::vector<Result> measured, MeasureModel(options, folder, backend.get()));
    std::move(measured.begin(), measured.end(), std::back_inserter(rows));
  }
  return rows;
}

}  // namespace reprise::bench
