#include "bench/peers/peer_decoder.h"

#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "cachestore/base/status_macros.h"

namespace reprise::bench {

absl::StatusOr<std::unique_ptr<PeerDecoder>> PeerDecoder::Start(std::vector<std::string> command) {
  ASSIGN_OR_RETURN(std::unique_ptr<PeerProcess> process, PeerProcess::Start(std::move(command)));
  return std::unique_ptr<PeerDecoder>(new PeerDecoder(std::move(process)));
}

absl::StatusOr<Decoded> PeerDecoder::Prompt(absl::Span<const std::vector<uint32_t>> prompts) {
  num_sequences_ = prompts.size();
  std::string line = absl::StrCat("prompt ", prompts.size());
  for (const std::vector<uint32_t>& prompt : prompts) {
    absl::StrAppend(&line, " ", absl::StrJoin(prompt, " "));
  }
  return Ask(line, num_sequences_);
}

absl::StatusOr<Decoded> PeerDecoder::Decode(int steps) {
  return Ask(absl::StrCat("decode ", steps), num_sequences_ * static_cast<size_t>(steps));
}

absl::StatusOr<Decoded> PeerDecoder::Ask(const std::string& line, size_t num_tokens) {
  ASSIGN_OR_RETURN(const std::string answer, process_->Ask(line));
  const std::vector<absl::string_view> words = absl::StrSplit(answer, ' ');
  Decoded decoded;
  bool good = words.size() == num_tokens + 1 && absl::SimpleAtod(words[0], &decoded.seconds);
  for (size_t i = 1; good && i < words.size(); ++i) {
    good = absl::SimpleAtoi(words[i], &decoded.tokens.emplace_back());
  }
  if (!good) return process_->NoAnswer(answer);
  return decoded;
}

}  // namespace reprise::bench
