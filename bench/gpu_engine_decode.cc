// Rows gpu.decode_tokens_per_s_*: single tokens of a batch after contexts of 1,024.
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "bench/card_decoder.h"
#include "bench/generated_model.h"
#include "bench/gpu_engine_rows.h"
#include "bench/peers/peer_decoder.h"
#include "bench/rounds.h"
#include "cachestore/base/status_macros.h"

namespace reprise::bench {
namespace {

// KV that the limit's kernel reads once, in order: much more than the card caches.
DecodeBatch ReadBatch(Extent extent) {
  return {std::vector<int32_t>(ByExtent(extent, 1, 64), ByExtent(extent, 16, 8192))};
}
double ReadBytes(const AttentionShape& shape, const DecodeBatch& batch) {
  return 2.0 * shape.kv_heads * shape.head_dim * cachestore::DTypeBits(shape.dtype) / 8 *
         static_cast<double>(batch.lengths.size()) * batch.lengths[0];
}

// The peer, behind the prompts. Any error: there is none, or it cannot compute them.
absl::StatusOr<std::unique_ptr<PeerDecoder>> PromptPeer(
    const std::vector<std::string>& command, const std::vector<std::vector<uint32_t>>& prompts) {
  if (command.empty()) return absl::NotFoundError("none asked for");
  ASSIGN_OR_RETURN(std::unique_ptr<PeerDecoder> peer, PeerDecoder::Start(command));
  RETURN_IF_ERROR(peer->Prompt(prompts).status());
  return peer;
}

Arm DecodeArm(Decoder* decoder, int batch, int steps) {
  return {decoder->name(), [=]() -> absl::StatusOr<double> {
            ASSIGN_OR_RETURN(const Decoded decoded, decoder->Decode(steps));
            return steps * batch / decoded.seconds;
          }};
}

}  // namespace

absl::StatusOr<std::vector<Result>> MeasureCardDecode(const GpuEngineSetting& setting, int batch) {
  const Extent extent = setting.options.extent;
  const int64_t length = ByExtent<int64_t>(extent, 17, 1024);
  const int steps = ByExtent(extent, 3, 32);
  const int rounds = ByExtent(extent, 1, 5);
  ASSIGN_OR_RETURN(const engine::cuda::OpenedCard card, setting.bed.open_card());
  ASSIGN_OR_RETURN(const std::unique_ptr<engine::Model> model,
                   GenerateModel(setting.model, setting.folder, card.backend.get()));
  CardDecoder ours(model.get(), card.backend.get(), CardChunkTokens(extent), steps * (rounds + 1));
  std::vector<Arm> arms = {DecodeArm(&ours, batch, steps)};
  const AttentionShape shape;
  const DecodeBatch read = ReadBatch(extent);
  ASSIGN_OR_RETURN(const auto work, setting.bed.works.decode(card.device.get(), shape, read));
  arms.push_back({"reading", [&] { return work->ReadSeconds(ByExtent(extent, 1, 4)); }});
  std::vector<std::vector<uint32_t>> prompts;
  for (int i = 0; i < batch; ++i) prompts.push_back(CardPrompt(setting, i, length));
  RETURN_IF_ERROR(ours.Prompt(prompts).status());
  const absl::StatusOr<std::unique_ptr<PeerDecoder>> peer =
      PromptPeer(setting.options.peers, prompts);
  if (peer.ok()) arms.push_back(DecodeArm(peer->get(), batch, steps));

  const std::string metric = absl::StrCat("gpu.decode_tokens_per_s_", batch);
  ASSIGN_OR_RETURN(const std::vector<double> figures, MedianOfRounds(metric, rounds, arms));
  const double context = static_cast<double>(ours.context()) - 0.5 * rounds * steps;
  const double step_bytes = static_cast<double>(GeneratedStepBytes(setting.model)) +
                            batch * context * static_cast<double>(ours.kv_bytes_per_token());
  const double read_rate = ReadBytes(shape, read) / figures[1];
  Result row{.metric = metric, .unit = "tokens/s", .ours = figures[0]};
  row.limit = read_rate / step_bytes * batch;
  row.goal = {Goal::Of::kOursOverLimit, Goal::Bound::kAtLeast, 0.80};
  row.context = {{"context_tokens", absl::StrCat(context)},
                 {"step_bytes", absl::StrCat(step_bytes)},
                 {"step_ms", absl::StrCat(1e3 * batch / figures[0])},
                 {"limit", "weights and KV read once a step, at the rate of a kernel that reads"},
                 {"GB/s of that", absl::StrCat(read_rate / 1e9)},
                 {"peer", peer.ok() ? (*peer)->name() : std::string(peer.status().message())}};
  std::vector<Result> rows = {row};
  if (peer.ok()) {
    row.metric += "_vs_peer";
    row.limit.reset();
    row.peer = figures[2];
    row.goal = {Goal::Of::kOursOverPeer, Goal::Bound::kAtLeast, 3};
    rows.push_back(std::move(row));
  }
  return rows;
}

}  // namespace reprise::bench
