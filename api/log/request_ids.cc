#include "api/log/request_ids.h"

#include <cstdint>

#include "absl/random/random.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

namespace reprise::api {
namespace {

bool IsRequestId(absl::string_view text) {
  if (text.empty() || text.size() > kMaxRequestIdBytes) return false;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (!absl::ascii_isalnum(byte) && absl::string_view("-_.:/+=").find(c) == text.npos) {
      return false;
    }
  }
  return true;
}

bool IsLowerHex(absl::string_view text) {
  return text.find_first_not_of("0123456789abcdef") == absl::string_view::npos;
}

// version-trace-parent-flags: 2, 32, 16 and 2 hex digits. A later version may have more behind.
bool IsTraceParent(absl::string_view text) {
  if (text.size() < 55 || text.size() > kMaxRequestIdBytes) return false;
  if (text[2] != '-' || text[35] != '-' || text[52] != '-') return false;
  const absl::string_view version = text.substr(0, 2);
  const absl::string_view trace = text.substr(3, 32);
  const absl::string_view parent = text.substr(36, 16);
  if (!IsLowerHex(version) || !IsLowerHex(trace) || !IsLowerHex(parent) ||
      !IsLowerHex(text.substr(53, 2))) {
    return false;
  }
  if (version == "ff" || (version == "00" && text.size() != 55)) return false;
  if (text.size() > 55 && (text[55] != '-' || !IsRequestId(text))) return false;
  return trace.find_first_not_of('0') != trace.npos && parent.find_first_not_of('0') != parent.npos;
}

}  // namespace

absl::string_view RequestIds::trace_id() const {
  return trace_parent.empty() ? absl::string_view() : absl::string_view(trace_parent).substr(3, 32);
}

std::string RandomRequestId() {
  absl::BitGen random;
  return absl::StrCat(absl::Hex(absl::Uniform<uint64_t>(random), absl::kZeroPad16),
                      absl::Hex(absl::Uniform<uint64_t>(random), absl::kZeroPad16));
}

RequestIds MakeRequestIds(absl::string_view request_id, absl::string_view trace_parent) {
  RequestIds ids;
  ids.request_id = IsRequestId(request_id) ? std::string(request_id) : RandomRequestId();
  if (IsTraceParent(trace_parent)) ids.trace_parent = std::string(trace_parent);
  return ids;
}

}  // namespace reprise::api
