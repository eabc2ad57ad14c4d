#include "bench/peers/store_peer.h"

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "cachestore/base/status_macros.h"

namespace reprise::bench {

absl::StatusOr<std::unique_ptr<StorePeer>> StorePeer::Start(std::vector<std::string> command) {
  ASSIGN_OR_RETURN(std::unique_ptr<PeerProcess> process, PeerProcess::Start(std::move(command)));
  return std::unique_ptr<StorePeer>(new StorePeer(std::move(process)));
}

absl::StatusOr<double> StorePeer::Ask(const std::string& command, int number) {
  ASSIGN_OR_RETURN(const std::string answer, process_->Ask(absl::StrCat(command, " ", number)));
  double seconds = 0;
  if (!absl::SimpleAtod(answer, &seconds) || seconds <= 0) return process_->NoAnswer(answer);
  return seconds;
}

}  // namespace reprise::bench
