#include "engine/backend/kv_format.h"

namespace reprise::engine {

cachestore::KvLayout WithDType(cachestore::KvLayout layout, cachestore::DType dtype) {
  using cachestore::KvScales;
  layout.dtype = dtype;
  layout.scales = dtype == cachestore::DType::kInt8   ? KvScales::kPerRow
                  : dtype == cachestore::DType::kInt4 ? KvScales::kPer32
                                                      : KvScales::kOutside;
  return layout;
}

bool IsExact(cachestore::DType dtype) { return dtype == cachestore::DType::kF32; }

}  // namespace reprise::engine
