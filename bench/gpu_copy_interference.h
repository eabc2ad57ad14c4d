// Rows gpu.copy_interference_*: how much copies slow a step's matrix products down.
#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "bench/copy_bed.h"
#include "bench/extent.h"
#include "bench/gpu/product_loop.h"
#include "bench/report.h"

namespace reprise::bench {

// For pieces of 2 MiB and of 16 KiB two rows: the products' time beside copies to the device, and
// those copies' rate beside products, each beside its own alone. Errors are those of the openers,
// and the device's. BLOCKS for seconds.
absl::StatusOr<std::vector<Result>> MeasureInterference(const DeviceOpener& open,
                                                        const ProductsOpener& open_products,
                                                        Extent extent);

}  // namespace reprise::bench
