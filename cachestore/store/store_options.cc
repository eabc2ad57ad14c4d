#include "cachestore/store/store_options.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "cachestore/base/status_macros.h"

namespace reprise::cachestore {
namespace {

template <typename T>
absl::Status CheckRange(absl::string_view option, T value, T low, T high) {
  // Written so that NaN fails too.
  if (value >= low && value <= high) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("store option ", option, " is ", value,
                                                 "; it must be between ", low, " and ", high));
}

absl::Status CheckPositive(absl::string_view option, absl::Duration value) {
  if (value > absl::ZeroDuration()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(option, " is ", absl::FormatDuration(value), "; it must be positive"));
}

constexpr int64_t kMinBytes = 4096;
constexpr int64_t kMaxSlotBytes = int64_t{1} << 43;  // slots are named by 32-bit numbers
constexpr int64_t kMaxDiskBytes = int64_t{1} << 50;
constexpr int64_t kMaxAttentionTokens = int64_t{1} << 40;
constexpr int64_t kMaxRememberedEvents = int64_t{1} << 24;  // 1 GiB

}  // namespace

absl::Status StoreOptions::Validate() const {
  RETURN_IF_ERROR(CheckRange("ram.capacity_bytes", ram.capacity_bytes, kMinBytes, kMaxSlotBytes));
  if (gpu.capacity_bytes != 0) {
    RETURN_IF_ERROR(CheckRange("gpu.capacity_bytes", gpu.capacity_bytes, kMinBytes, kMaxSlotBytes));
  }
  if (!disk.directory.empty()) {
    RETURN_IF_ERROR(
        CheckRange("disk.capacity_bytes", disk.capacity_bytes, kMinBytes, kMaxDiskBytes));
  }
  RETURN_IF_ERROR(
      CheckRange("attention_tokens", attention_tokens, int64_t{0}, kMaxAttentionTokens));
  RETURN_IF_ERROR(CheckRange("ram_free_low_watermark", ram_free_low_watermark, 0.0, 0.5));
  RETURN_IF_ERROR(CheckRange("gpu_free_low_watermark", gpu_free_low_watermark, 0.0, 0.5));
  RETURN_IF_ERROR(CheckRange("max_loading_tickets", max_loading_tickets, 1, 1 << 20));
  RETURN_IF_ERROR(
      CheckRange("remembered_events", remembered_events, int64_t{1}, kMaxRememberedEvents));
  RETURN_IF_ERROR(CheckPositive("check_after_idle", check_after_idle));
  return CheckPositive("save_model_every", save_model_every);
}

}  // namespace reprise::cachestore
