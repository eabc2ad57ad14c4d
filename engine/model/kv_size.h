// KV size arithmetic: how much memory the KV of a model takes. Exact in 64 bits; pure functions.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "cachestore/block/kv_layout.h"

namespace reprise::engine {

// What of a model's shape decides its KV size.
struct KvGeometry {
  std::string name;
  int64_t num_layers = 0;
  int64_t num_heads = 0;
  int64_t num_kv_heads = 0;
  int64_t head_dim = 0;
};

// What is kept of it.
struct KvLoad {
  int64_t tokens = 0;  // per sequence
  int64_t batch = 1;   // sequences
  cachestore::DType dtype = cachestore::DType::kF16;
};

// 2 (K and V) x layers x kv heads x tokens x batch x (head dim x bits / 8 + scales): what blocks
// hold, with the scales that the backend keeps in them for int8 and int4 (kv_format.h).
// kInvalidArgument names a value that is not positive, says why there is no such row (int4 needs
// an even head dim), or that the product is over 63 bits.
absl::StatusOr<int64_t> KvBytes(const KvGeometry& geometry, const KvLoad& load);

// How heads share keys and values.
struct KvVariant {
  std::string name;  // "MHA", "GQA-8", "MQA"
  KvGeometry geometry;
  bool is_own = false;  // the way the model has it
};

// The same geometry with a kv head for every query head (MHA), with the model's own number of kv
// heads or else 8 (GQA; left out where 8 do not divide the heads), and with one (MQA). Most KV
// first.
std::vector<KvVariant> KvVariants(const KvGeometry& geometry);

// Geometries of well-known models.
absl::Span<const KvGeometry> KvPresets();

// The preset of that name, or the geometry of the Hugging Face folder of that path (only its
// config.json is read). kInvalidArgument: neither; lists the presets. Else as ReadModelConfig.
absl::StatusOr<KvGeometry> FindKvGeometry(const std::string& preset_or_folder);

}  // namespace reprise::engine
