#include "cachestore/store/pin_ticket.h"

#include <optional>
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
  std::optional<Moment> landed;
  {
    absl::MutexLock lock(&state_->mu);
    landed = state_->ArrivalOf(bytes);
    while (!state_->done && !landed.has_value()) {
      const bool is_late = state_->changed.WaitWithDeadline(&state_->mu, deadline);
      landed = state_->ArrivalOf(bytes);
      if (is_late) break;
    }
    if (state_->done) return state_->IsAsTold();
    if (!landed.has_value()) return false;
  }
  if (landed->number > 0) state_->device->Await(Lane::kCompute, *landed);
  return true;
}

PinnedPrefix PinTicket::Take() {
  CHECK(state_ != nullptr);
  const std::shared_ptr<PinState> state = std::move(state_);
  absl::MutexLock lock(&state->mu);
  CHECK(state->done);
  return std::move(state->prefix);
}

}  // namespace reprise::cachestore
