#include "api/long_calls.h"

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "api/auth/caller.h"
#include "api/auth/rate_limiter.h"

namespace reprise::api {
namespace {

// They take milliseconds.
constexpr absl::Duration kComeAgain = absl::Milliseconds(100);

}  // namespace

absl::Status LongCalls::Begin(const grpc::CallbackServerContext& context) {
  if (++calls_ > max_calls_) {
    --calls_;
    return ComeAgain(absl::StrCat(max_calls_, " calls about prompts of more than ", kMaxQuickTokens,
                                  " tokens are under way, as many as may be"),
                     kComeAgain);
  }
  absl::Status counted = CountInShare(context);
  if (!counted.ok()) --calls_;
  return counted;
}

}  // namespace reprise::api
