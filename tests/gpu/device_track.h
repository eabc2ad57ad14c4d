// DeviceTrack: what a test runs on: LazyDevice, which is as late as it may be (seed 0) or runs in
// any legal order (other seeds), or the card.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "cachestore/memory/device.h"
#include "tests/fakes/lazy_device.h"

namespace reprise::cachestore {

struct DeviceTrack {
  std::optional<uint64_t> seed;  // LazyDevice's; none: the card

  bool is_card() const { return !seed.has_value(); }
  std::string Name() const { return is_card() ? "Card" : absl::StrCat("Lazy", *seed); }

  // A new one. A LazyDevice has `lazy_bytes` of memory. Errors are OpenDevice's; kNotFound: there
  // is no card.
  absl::StatusOr<std::unique_ptr<Device>> Open(size_t lazy_bytes = size_t{64} << 20) const {
    if (is_card()) return OpenDevice();
    return std::make_unique<LazyDevice>(*seed, lazy_bytes);
  }
};

}  // namespace reprise::cachestore
