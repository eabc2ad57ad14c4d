#include "engine/sched/load_chooser.h"

#include <algorithm>
#include <optional>

namespace reprise::engine {

using cachestore::BlockRange;

LoadChoice LoadChooser::Choose(const Sequence& sequence, int64_t tokens_ahead,
                               bool is_alone) const {
  const BlockRange range = sequence.LoadableBlocks();
  const LoadChoice all = {.num_blocks = range.count, .patience = load_timeout_};
  const std::optional<absl::Duration> per_token = prefill_rate_.PerToken();
  if (loading_ == PrefixLoading::kAlways || range.count == 0 || !per_token.has_value()) return all;
  LoadChoice choice =
      ChooseLoad(store_->ForecastLoad(sequence.ns(), sequence.tokens(), range.first + range.count),
                 range.first,
                 {.queue = *per_token * tokens_ahead,
                  .per_block = *per_token * sequence.ns().layout.block_tokens,
                  .is_alone = is_alone});
  choice.patience = std::min(choice.patience, load_timeout_);
  // The misses behind the match are looked up too, and counted.
  if (choice.passed_over_blocks == 0) choice.num_blocks = range.count;
  return choice;
}

}  // namespace reprise::engine
