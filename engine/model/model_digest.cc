#include "engine/model/model_digest.h"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "cachestore/base/hash.h"

namespace reprise::engine {
namespace {

using cachestore::Hash128;

constexpr size_t kPieceBytes = 64 << 20;

void AppendU64(uint64_t value, std::string* out) {
  for (int shift = 0; shift < 64; shift += 8) out->push_back(static_cast<char>(value >> shift));
}

// Length first, so that no two lists of fields read alike.
void AppendField(absl::string_view field, std::string* out) {
  AppendU64(field.size(), out);
  out->append(field.data(), field.size());
}

// Hashes of `pieces`, in order, computed on all cores.
std::vector<Hash128> HashAll(const std::vector<absl::Span<const std::byte>>& pieces) {
  std::vector<Hash128> hashes(pieces.size());
  // The next piece nobody has taken; relaxed, because join() publishes the hashes.
  std::atomic<size_t> next{0};
  const auto work = [&] {
    for (size_t i; (i = next.fetch_add(1, std::memory_order_relaxed)) < pieces.size();) {
      hashes[i] = cachestore::HashBytes128(pieces[i]);
    }
  };
  std::vector<std::thread> threads;
  const size_t cores = std::max(1u, std::thread::hardware_concurrency());
  for (size_t i = 1; i < std::min(cores, pieces.size()); ++i) threads.emplace_back(work);
  work();
  for (std::thread& thread : threads) thread.join();
  return hashes;
}

}  // namespace

std::string ModelDigest(const nlohmann::json& config, const Checkpoint& checkpoint,
                        absl::Span<const absl::string_view> arithmetic) {
  std::vector<absl::Span<const std::byte>> pieces;
  for (const auto& [name, tensor] : checkpoint.tensors()) {
    for (size_t at = 0; at < tensor.bytes.size(); at += kPieceBytes) {
      pieces.push_back(tensor.bytes.subspan(at, kPieceBytes));
    }
  }
  const std::vector<Hash128> hashes = HashAll(pieces);

  std::string record;
  AppendField("reprise.model.v2", &record);
  AppendField(config.dump(), &record);
  AppendU64(arithmetic.size(), &record);
  for (const absl::string_view name : arithmetic) AppendField(name, &record);
  size_t piece = 0;
  for (const auto& [name, tensor] : checkpoint.tensors()) {
    AppendField(name, &record);
    AppendField(tensor.dtype, &record);
    AppendU64(tensor.shape.size(), &record);
    for (const int64_t size : tensor.shape) AppendU64(static_cast<uint64_t>(size), &record);
    for (size_t at = 0; at < tensor.bytes.size(); at += kPieceBytes, ++piece) {
      AppendU64(hashes[piece].hi, &record);
      AppendU64(hashes[piece].lo, &record);
    }
  }
  const Hash128 digest = cachestore::HashBytes128(
      absl::MakeSpan(reinterpret_cast<const std::byte*>(record.data()), record.size()));
  return absl::StrFormat("%016x%016x", digest.hi, digest.lo);
}

}  // namespace reprise::engine
