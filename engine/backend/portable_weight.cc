#include "engine/backend/portable_weight.h"

#include <algorithm>
#include <cstdint>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/backend/portable_weight.cc"
// The order of these matters.
// clang-format off
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
// clang-format on

#ifndef REPRISE_ENGINE_BACKEND_PORTABLE_WEIGHT_TYPES
#define REPRISE_ENGINE_BACKEND_PORTABLE_WEIGHT_TYPES
namespace reprise::engine {

constexpr int64_t kPanelCols = 16;
// Depth of W that is multiplied before the next panel: 256 x 16 f32 are 16 KiB, half a first-level
// cache.
constexpr int64_t kDepth = 256;

// The operands of one call over a rectangle of rows and panels. T is the element of W.
template <typename T>
struct PanelProduct {
  const float* x = nullptr;  // [rows, in]
  int64_t in = 0;
  const T* panels = nullptr;  // [panel][in][16]
  int64_t out_features = 0;
  const float* bias = nullptr;  // [out_features] or nullptr
  float* out = nullptr;         // [rows, out_features]
};

}  // namespace reprise::engine
#endif

HWY_BEFORE_NAMESPACE();
namespace reprise::engine {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;
using F32 = hn::CappedTag<float, kPanelCols>;
using Vec = hn::Vec<F32>;

constexpr int64_t kLanes = hn::MaxLanes(F32());
constexpr int kPanelVecs = static_cast<int>(kPanelCols / kLanes);
// Rows and panels whose sums fit the registers: 24 of 32 with AVX-512, 12 of 16 before it.
constexpr int kTileRows = kPanelVecs <= 2 ? 6 : 3;
constexpr int kTilePanels = kPanelVecs == 1 ? 4 : 1;
constexpr int kSingleRowPanels = kPanelVecs == 4 ? 2 : 4;

HWY_INLINE Vec LoadWidened(F32 d, const float* w) { return hn::LoadU(d, w); }

HWY_INLINE Vec LoadWidened(F32 d, const uint16_t* w) {
  const hn::Rebind<uint32_t, F32> du;
  const hn::Rebind<uint16_t, F32> dh;
  return hn::BitCast(d, hn::ShiftLeft<16>(hn::PromoteTo(du, hn::LoadU(dh, w))));
}

// Continues the sums of kRows rows x kPanels panels, [row][panel][16] in `sums`, by x[0, depth) W.
template <int kRows, int kPanels, typename T>
HWY_INLINE void AccumulateTile(const float* HWY_RESTRICT x, int64_t x_stride,
                               const T* HWY_RESTRICT w, int64_t panel_stride, int64_t depth,
                               float* HWY_RESTRICT sums, int64_t row_stride) {
  const F32 d;
  constexpr int kVecs = kPanels * kPanelVecs;
  Vec sum[kRows][kVecs];
  for (int r = 0; r < kRows; ++r) {
    for (int v = 0; v < kVecs; ++v) sum[r][v] = hn::LoadU(d, sums + r * row_stride + v * kLanes);
  }
  for (int64_t k = 0; k < depth; ++k) {
    Vec column[kVecs];
    for (int v = 0; v < kVecs; ++v) {
      const T* source = w + (v / kPanelVecs) * panel_stride + (v % kPanelVecs) * kLanes;
      column[v] = LoadWidened(d, source + k * kPanelCols);
    }
    for (int r = 0; r < kRows; ++r) {
      const Vec value = hn::Set(d, x[r * x_stride + k]);
      for (int v = 0; v < kVecs; ++v) sum[r][v] = hn::MulAdd(value, column[v], sum[r][v]);
    }
  }
  for (int r = 0; r < kRows; ++r) {
    for (int v = 0; v < kVecs; ++v) hn::StoreU(sum[r][v], d, sums + r * row_stride + v * kLanes);
  }
}

// One tile at (row, panel) over [k, k + depth). The sums live in `out` between calls; those of a
// panel that reaches past out_features go through a buffer.
template <int kRows, int kPanels, typename T>
HWY_INLINE void MultiplyTile(const PanelProduct<T>& product, int64_t row, int64_t panel, int64_t k,
                             int64_t depth) {
  const int64_t column = panel * kPanelCols;
  constexpr int64_t kCols = kPanels * kPanelCols;
  const int64_t cols = std::min(kCols, product.out_features - column);
  float* out = product.out + row * product.out_features + column;
  float edge[kRows * kCols];
  float* sums = cols == kCols ? out : edge;
  const int64_t stride = cols == kCols ? product.out_features : kCols;
  for (int r = 0; r < kRows; ++r) {
    const float* from = out + r * product.out_features;
    float* to = sums + r * stride;
    if (k == 0 && product.bias == nullptr) {
      std::fill(to, to + cols, 0.0f);
    } else if (k == 0) {
      std::copy(product.bias + column, product.bias + column + cols, to);
    } else if (from != to) {
      std::copy(from, from + cols, to);
    }
    std::fill(to + cols, to + kCols, 0.0f);
  }
  const int64_t panel_stride = product.in * kPanelCols;
  AccumulateTile<kRows, kPanels>(product.x + row * product.in + k, product.in,
                                 product.panels + panel * panel_stride + k * kPanelCols,
                                 panel_stride, depth, sums, stride);
  if (sums == out) return;
  for (int r = 0; r < kRows; ++r) {
    std::copy(edge + r * kCols, edge + r * kCols + cols, out + r * product.out_features);
  }
}

template <int kRows, typename T>
HWY_INLINE void MultiplyTileRow(const PanelProduct<T>& product, int64_t row, int64_t first_panel,
                                int64_t last_panel, int64_t k, int64_t depth) {
  constexpr int kPanels = kRows == 1 ? kSingleRowPanels : kTilePanels;
  int64_t panel = first_panel;
  for (; panel + kPanels <= last_panel; panel += kPanels) {
    MultiplyTile<kRows, kPanels>(product, row, panel, k, depth);
  }
  for (; panel < last_panel; ++panel) MultiplyTile<kRows, 1>(product, row, panel, k, depth);
}

template <typename T>
HWY_INLINE void MultiplyRectangle(const PanelProduct<T>& product, int64_t first_row,
                                  int64_t last_row, int64_t first_panel, int64_t last_panel) {
  for (int64_t k = 0; k < product.in; k += kDepth) {
    const int64_t depth = std::min(kDepth, product.in - k);
    for (int64_t panel = first_panel; panel < last_panel; panel += 4) {
      const int64_t end_panel = std::min(panel + 4, last_panel);
      int64_t row = first_row;
      for (; row + kTileRows <= last_row; row += kTileRows) {
        MultiplyTileRow<kTileRows>(product, row, panel, end_panel, k, depth);
      }
      for (; row + 2 <= last_row; row += 2) {
        MultiplyTileRow<2>(product, row, panel, end_panel, k, depth);
      }
      if (row < last_row) MultiplyTileRow<1>(product, row, panel, end_panel, k, depth);
    }
  }
}

void MultiplyF32(const PanelProduct<float>& product, int64_t first_row, int64_t last_row,
                 int64_t first_panel, int64_t last_panel) {
  MultiplyRectangle(product, first_row, last_row, first_panel, last_panel);
}

void MultiplyBF16(const PanelProduct<uint16_t>& product, int64_t first_row, int64_t last_row,
                  int64_t first_panel, int64_t last_panel) {
  MultiplyRectangle(product, first_row, last_row, first_panel, last_panel);
}

}  // namespace HWY_NAMESPACE
}  // namespace reprise::engine
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <cstring>
#include <type_traits>
#include <utility>
#include <vector>

#include "cachestore/base/check.h"
#include "cachestore/base/status_macros.h"
#include "engine/backend/cpu_elementwise.h"
#include "engine/backend/cpu_parallel.h"
#include "engine/backend/weight_memory.h"

namespace reprise::engine {

HWY_EXPORT(MultiplyF32);
HWY_EXPORT(MultiplyBF16);

namespace {

template <typename T>
class PortableWeight final : public CpuWeight {
 public:
  PortableWeight(int64_t in, int64_t out, WeightMemory memory)
      : CpuWeight(in, out), memory_(std::move(memory)) {}

  T* panels() { return reinterpret_cast<T*>(memory_.get()); }

  absl::string_view arithmetic() const override { return "f32 chains"; }

  void Multiply(const float* x, int64_t rows, const float* bias, float* out) const override {
    // A task's rows of x (96 x 256 f32) stay in a second-level cache while its panels pass by.
    constexpr int64_t kTaskRows = 96;
    constexpr int64_t kTaskPanels = 8;
    PanelProduct<T> product;
    product.x = x;
    product.in = in_features();
    product.panels = reinterpret_cast<const T*>(memory_.get());
    product.out_features = out_features();
    product.bias = bias;
    product.out = out;
    const int64_t panels = (out_features() + kPanelCols - 1) / kPanelCols;
    const int64_t across = (panels + kTaskPanels - 1) / kTaskPanels;
    const int64_t down = (rows + kTaskRows - 1) / kTaskRows;
    const int64_t work = std::min(rows, kTaskRows) * in_features() * kTaskPanels * kPanelCols;
    ParallelItems(across * down, work, int64_t{1} << 16, [&](int, int64_t task) {
      const int64_t row = task % down * kTaskRows;
      const int64_t panel = task / down * kTaskPanels;
      Dispatch(product, row, std::min(row + kTaskRows, rows), panel,
               std::min(panel + kTaskPanels, panels));
    });
  }

 private:
  static void Dispatch(const PanelProduct<float>& product, int64_t first_row, int64_t last_row,
                       int64_t first_panel, int64_t last_panel) {
    HWY_DYNAMIC_DISPATCH(MultiplyF32)(product, first_row, last_row, first_panel, last_panel);
  }
  static void Dispatch(const PanelProduct<uint16_t>& product, int64_t first_row, int64_t last_row,
                       int64_t first_panel, int64_t last_panel) {
    HWY_DYNAMIC_DISPATCH(MultiplyBF16)(product, first_row, last_row, first_panel, last_panel);
  }

  const WeightMemory memory_;
};

// Moves one stored row of the checkpoint, of T, to its places in the panels.
template <typename T>
void PlaceRow(const T* source, int64_t row, WeightOrder order, int64_t in, int64_t out, T* panels) {
  if (order == WeightOrder::kOutIn) {
    T* panel = panels + row / kPanelCols * in * kPanelCols + row % kPanelCols;
    for (int64_t k = 0; k < in; ++k) panel[k * kPanelCols] = source[k];
    return;
  }
  for (int64_t column = 0; column < out; column += kPanelCols) {
    const int64_t count = std::min(kPanelCols, out - column);
    std::memcpy(panels + (column * in) + row * kPanelCols, source + column, count * sizeof(T));
  }
}

template <typename T>
absl::StatusOr<std::unique_ptr<CpuWeight>> PackAs(TensorView weight, WeightOrder order) {
  const bool out_in = order == WeightOrder::kOutIn;
  const int64_t in = out_in ? weight.cols : weight.rows;
  const int64_t out = out_in ? weight.rows : weight.cols;
  const int64_t panels = (out + kPanelCols - 1) / kPanelCols;
  const size_t size = panels * kPanelCols * in * sizeof(T);
  ASSIGN_OR_RETURN(WeightMemory memory, AllocateWeightMemory(size));
  // The columns past out_features of the last panel are multiplied, too.
  std::memset(memory.get() + size - in * kPanelCols * sizeof(T), 0, in * kPanelCols * sizeof(T));
  auto packed = std::make_unique<PortableWeight<T>>(in, out, std::move(memory));
  const auto* bytes = static_cast<const std::byte*>(weight.data);
  const int64_t row_bytes = weight.cols * ElementBytes(weight.type);
  ParallelRanges(weight.rows, weight.cols, 1 << 16, [&](int, int64_t begin, int64_t end) {
    std::vector<T> row(weight.cols);
    for (int64_t r = begin; r < end; ++r) {
      if constexpr (std::is_same_v<T, float>) {
        Widen(bytes + r * row_bytes, weight.type, weight.cols, row.data());
      } else {
        std::memcpy(row.data(), bytes + r * row_bytes, row_bytes);
      }
      PlaceRow(row.data(), r, order, in, out, packed->panels());
    }
  });
  return packed;
}

}  // namespace

absl::StatusOr<std::unique_ptr<CpuWeight>> PackPortableWeight(TensorView weight,
                                                              WeightOrder order) {
  CHECK(weight.rows > 0 && weight.cols > 0);
  if (weight.type == ElementType::kBF16) return PackAs<uint16_t>(weight, order);
  return PackAs<float>(weight, order);
}

}  // namespace reprise::engine
#endif  // HWY_ONCE
