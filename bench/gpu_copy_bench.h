// Suite "gpu-copy": copies between host and GPU by the store's Device, beside one large pinned
// copy.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "bench/copy_bed.h"
#include "bench/extent.h"
#include "bench/gpu/product_loop.h"
#include "bench/report.h"

namespace reprise::bench {

struct GpuCopyBenchOptions {
  std::vector<std::string> groups;  // empty: all
  Extent extent = Extent::kFull;
};

// A row for each size and direction of the chosen groups: "blocks" (2 MiB), "scattered" (16 and 64
// KiB), "crossover" (each means alone, by piece size: what CopyCrossovers' defaults should be).
// kNotFound: there is no device. kDataLoss: bytes came back changed. BLOCKS for a minute.
absl::StatusOr<std::vector<Result>> RunGpuCopyBench(const GpuCopyBenchOptions& options,
                                                    const DeviceOpener& open,
                                                    const ProductsOpener& open_products);

}  // namespace reprise::bench
