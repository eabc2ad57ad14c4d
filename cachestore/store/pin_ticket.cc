#include "cachestore/store/pin_ticket.h"

#include <algorithm>
#include <utility>

#include "cachestore/base/check.h"
#include "cachestore/store/pin_state.h"

namespace reprise::cachestore {

PinTicket::PinTicket(std::shared_ptr<PinState> state) : state_(std::move(state)) {}
PinTicket::PinTicket(PinTicket&&) noexcept = default;
PinTicket::~PinTicket() { Abandon(); }

PinTicket& PinTicket::operator=(PinTicket&& other) noexcept {
  if (this == &other) return *this;
  Abandon();
  state_ = std::move(other.state_);
  return *this;
}

void PinTicket::Abandon() {
  if (state_ != nullptr && !done()) state_->canceller.Cancel(state_.get());
  state_ = nullptr;
}

int64_t PinTicket::matched_blocks() const { return state_->matched_blocks; }

bool PinTicket::done() const {
  absl::MutexLock lock(&state_->mu);
  return state_->done;
}

bool PinTicket::Wait(absl::Time deadline) const {
  absl::MutexLock lock(&state_->mu);
  while (!state_->done) {
    if (state_->changed.WaitWithDeadline(&state_->mu, deadline)) break;
  }
  return state_->done;
}

std::vector<const std::byte*> PinTicket::addresses() const {
  absl::MutexLock lock(&state_->mu);
  return state_->addresses;
}

bool PinTicket::AwaitBytes(uint64_t bytes, absl::Time deadline) const {
  absl::MutexLock lock(&state_->mu);
  while (!state_->done && state_->arrived_bytes < bytes) {
    if (state_->changed.WaitWithDeadline(&state_->mu, deadline)) break;
  }
  if (!state_->done) return state_->arrived_bytes >= bytes;
  const auto lies_at = [](const BlockRef& block, const std::byte* address) {
    return block.bytes().data() == address;
  };
  const std::vector<BlockRef>& blocks = state_->prefix.blocks;
  return std::equal(blocks.begin(), blocks.end(), state_->addresses.begin(),
                    state_->addresses.end(), lies_at);
}

PinnedPrefix PinTicket::Take() {
  CHECK(state_ != nullptr);
  const std::shared_ptr<PinState> state = std::move(state_);
  absl::MutexLock lock(&state->mu);
  CHECK(state->done);
  return std::move(state->prefix);
}

}  // namespace reprise::cachestore
