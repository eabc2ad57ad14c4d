#include "bench/card_decoder.h"

#include <algorithm>
#include <vector>

#include "cachestore/base/status_macros.h"

namespace reprise::bench {

CardDecoder::CardDecoder(engine::Model* model, engine::Backend* backend, int64_t chunk_tokens,
                         int64_t room)
    : ModelDecoder(model, chunk_tokens, cachestore::DType::kBF16, room), backend_(backend) {}

absl::StatusOr<std::byte*> CardDecoder::Reserve(size_t bytes) {
  arena_ = {};
  ASSIGN_OR_RETURN(arena_, backend_->Reserve(bytes));
  return arena_.bytes().data();
}

absl::Status CardDecoder::Choose(engine::Activations logits, absl::Span<uint32_t> tokens) {
  std::vector<engine::DrawRow> rows(tokens.size());
  for (size_t i = 0; i < rows.size(); ++i) rows[i].row = static_cast<int64_t>(i);
  std::vector<int32_t> drawn(rows.size());
  RETURN_IF_ERROR(backend_->Draw(logits, rows, absl::MakeSpan(drawn)));
  if (*std::min_element(drawn.begin(), drawn.end()) < 0) {
    return absl::InternalError("a row of logits has no largest one");
  }
  std::copy(drawn.begin(), drawn.end(), tokens.begin());
  return absl::OkStatus();
}

}  // namespace reprise::bench
