#include "bench/gpu_attention_peers.h"

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "cachestore/base/status_macros.h"

namespace reprise::bench {

absl::StatusOr<GpuAttentionPeers> GpuAttentionPeers::Start(
    const std::vector<std::string>& command) {
  if (command.empty()) return GpuAttentionPeers(nullptr);
  ASSIGN_OR_RETURN(std::unique_ptr<PeerProcess> process, PeerProcess::Start(command));
  return GpuAttentionPeers(std::move(process));
}

std::vector<Arm> GpuAttentionPeers::ArmsFor(const std::string& work, int launches) {
  if (process_ == nullptr) return {};
  const absl::StatusOr<std::string> libraries = process_->Ask(absl::StrCat("libraries ", work));
  if (!libraries.ok() || absl::StartsWith(*libraries, "error")) return {};
  std::vector<Arm> arms;
  for (const absl::string_view library : absl::StrSplit(*libraries, ' ', absl::SkipEmpty())) {
    arms.push_back({std::string(library),
                    [this, line = absl::StrCat("seconds ", library, " ", launches, " ", work)] {
                      return Seconds(line);
                    }});
  }
  return arms;
}

absl::Status GpuAttentionPeers::Forget() {
  if (process_ == nullptr) return absl::OkStatus();
  return process_->Ask("forget").status();
}

absl::StatusOr<double> GpuAttentionPeers::Seconds(const std::string& line) {
  ASSIGN_OR_RETURN(const std::string answer, process_->Ask(line));
  double seconds = 0;
  if (!absl::SimpleAtod(answer, &seconds) || seconds <= 0) return process_->NoAnswer(answer);
  return seconds;
}

}  // namespace reprise::bench
