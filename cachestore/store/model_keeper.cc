#include "cachestore/store/model_keeper.h"

#include <utility>

#include "absl/time/clock.h"
#include "cachestore/base/check.h"
#include "cachestore/base/status_macros.h"

namespace reprise::cachestore {
namespace {

constexpr char kName[] = "eviction_model";

}  // namespace

absl::Status RestoreModel(const BackingTier& tier, EvictionPolicy& order) {
  const absl::StatusOr<std::string> model = tier.LoadState(kName);
  if (absl::IsNotFound(model.status())) return absl::OkStatus();
  RETURN_IF_ERROR(model.status());
  return order.RestoreModel(*model);
}

ModelKeeper::ModelKeeper(StoreCore& core, absl::Duration interval)
    : core_(core), interval_(interval), saved_(Serialized()) {
  CHECK(core.tier != nullptr);
  if (!saved_.empty()) due_ = absl::Now() + interval_;
}

std::string ModelKeeper::Serialized() const {
  absl::ReaderMutexLock lock(&core_.mu);
  return core_.state.order->SerializeModel();
}

void ModelKeeper::Save() {
  std::string model = Serialized();
  if (!model.empty()) due_ = absl::Now() + interval_;
  if (model == saved_) return;
  if (core_.tier->SaveState(kName, model).ok()) {
    saved_ = std::move(model);
    return;
  }
  absl::MutexLock lock(&core_.mu);
  ++core_.state.counters.failed_disk_writes;
}

}  // namespace reprise::cachestore
