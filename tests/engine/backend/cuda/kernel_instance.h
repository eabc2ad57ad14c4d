// Which instance of a kernel on tensor cores a launch asks for: they are compiled for each KV type
// and head_dim.
#pragma once

#include "engine/backend/cuda/kernels/launch_types.h"

namespace reprise::engine::cuda {

// Whether there is one for such blocks.
inline bool HasInstance(const PagedKv& kv) {
  const bool type = kv.type == KvType::kBF16 || kv.type == KvType::kF16 ||
                    kv.type == KvType::kE4M3 || kv.type == KvType::kInt8;
  return type && (kv.head_dim == 64 || kv.head_dim == 128);
}

// Calls `block`, a template <KvType, int head_dim>, with those of `kv`. REQUIRES: HasInstance(kv).
template <typename Block>
void WithInstance(const PagedKv& kv, const Block& block) {
  const auto with_dim = [&]<KvType kType>() {
    kv.head_dim == 64 ? block.template operator()<kType, 64>()
                      : block.template operator()<kType, 128>();
  };
  switch (kv.type) {
    case KvType::kBF16:
      return with_dim.template operator()<KvType::kBF16>();
    case KvType::kF16:
      return with_dim.template operator()<KvType::kF16>();
    case KvType::kE4M3:
      return with_dim.template operator()<KvType::kE4M3>();
    default:
      return with_dim.template operator()<KvType::kInt8>();
  }
}

}  // namespace reprise::engine::cuda
