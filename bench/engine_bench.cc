#include "bench/engine_bench.h"

#include <omp.h>

#include <filesystem>
#include <utility>

#include "absl/strings/str_cat.h"
#include "bench/engine_rows.h"
#include "bench/peers/peer_decoder.h"
#include "bench/row_groups.h"
#include "bench/temp_folder.h"
#include "cachestore/base/status_macros.h"
#include "engine/engine_options.h"

namespace reprise::bench {
namespace {

// Starts the peers that bench/peers/setup.sh installed in `venv`; none where there is no such
// folder.
absl::Status StartPeers(const std::string& venv, EngineContest* contest) {
  const std::string python = venv + "/bin/python3";
  if (venv.empty() || !std::filesystem::exists(python)) return absl::OkStatus();
  for (const char* script : {"transformers_peer.py", "llama_cpp_peer.py"}) {
    ASSIGN_OR_RETURN(std::unique_ptr<PeerDecoder> peer,
                     PeerDecoder::Start({python, absl::StrCat(venv, "/", script), contest->folder,
                                         absl::StrCat(contest->num_threads)}));
    contest->peers.push_back(std::move(peer));
  }
  return absl::OkStatus();
}

// What llama.cpp keeps KV as: its default beside weights of 16 bits is f16. transformers takes the
// weights' type.
cachestore::DType KvDTypeOf(const BenchModel& model) {
  const bool f32 = model.options.dtype == engine::ElementType::kF32;
  return f32 ? cachestore::DType::kF32 : cachestore::DType::kF16;
}

absl::StatusOr<EngineContest> Prepare(const BenchModel& model, const EngineBenchOptions& options,
                                      const std::string& models) {
  EngineContest contest;
  contest.bench_model = model;
  contest.num_threads = options.num_threads > 0 ? options.num_threads : omp_get_num_procs();
  ASSIGN_OR_RETURN(contest.folder, MakeBenchModel(model, models));
  RETURN_IF_ERROR(StartPeers(options.peers, &contest));
  contest.backend = engine::NewCpuBackend(contest.num_threads);
  ASSIGN_OR_RETURN(contest.model, engine::LoadModel(contest.folder, contest.backend.get()));
  contest.ours = std::make_unique<EngineDecoder>(
      contest.model.get(), engine::EngineOptions().step_tokens, KvDTypeOf(model));
  return contest;
}

absl::StatusOr<std::vector<Result>> MeasureModel(const BenchModel& model,
                                                 const EngineBenchOptions& options,
                                                 const std::string& models) {
  ASSIGN_OR_RETURN(EngineContest contest, Prepare(model, options, models));
  std::vector<Result> rows;
  const auto append = [&rows](absl::StatusOr<std::vector<Result>> measured) {
    if (!measured.ok()) return measured.status();
    rows.insert(rows.end(), measured->begin(), measured->end());
    return absl::OkStatus();
  };
  RETURN_IF_ERROR(append(MeasurePrefill(contest, options.extent)));
  RETURN_IF_ERROR(append(MeasureProducts(contest, options.extent)));
  for (const int batch : {1, 8}) {
    RETURN_IF_ERROR(append(MeasureDecode(contest, batch, options.extent)));
  }
  return rows;
}

}  // namespace

Result EngineRow(const EngineContest& contest, const std::string& metric, const std::string& unit) {
  Result row{.metric = absl::StrCat(metric, "_", contest.bench_model.name), .unit = unit};
  row.context = {{"model", contest.bench_model.name},
                 {"threads", absl::StrCat(contest.num_threads)},
                 {"kv", std::string(cachestore::DTypeName(KvDTypeOf(contest.bench_model)))}};
  return row;
}

void SetPeers(const EngineContest& contest, const std::vector<double>& figures, Result* row) {
  if (contest.peers.empty()) {
    row->context["peer"] = "none: see bench/peers/setup.sh";
    return;
  }
  for (size_t i = 0; i < contest.peers.size(); ++i) {
    const std::string& name = contest.peers[i]->name();
    row->context[absl::StrCat("peer ", name)] = absl::StrCat(figures[i]);
    if (row->peer.has_value() && *row->peer >= figures[i]) continue;
    row->peer = figures[i];
    row->context["peer"] = name;
  }
}

absl::StatusOr<std::vector<Result>> RunEngineBench(const EngineBenchOptions& options) {
  ASSIGN_OR_RETURN(const TempFolder temp, TempFolder::Make("reprise-bench-engine"));
  const std::string& models = options.models.empty() ? temp.path() : options.models;
  std::vector<RowGroup> groups;
  for (const BenchModel& model : BenchModels(options.extent)) {
    groups.push_back(
        {model.name, [&options, &models, model] { return MeasureModel(model, options, models); }});
  }
  return RunGroups(groups, options.groups, options.extent);
}

}  // namespace reprise::bench
