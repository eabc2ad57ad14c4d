// The warpgroup's matrix products (wgmma.mma_async.m64nNk16), emulated, with operands in shared
// memory as their descriptors say. Products are exact, sums are rounded to f32 once a product.
//
// Lane l = 32 w + 4 g + t of the 128. Sums [64, 8 tiles]: sums[j][0], [1] = row 16 w + g, columns
// 8 j + 2 t, + 1; sums[j][2], [3] = row 16 w + g + 8. A in registers: as in warp_mma.h for the rows
// from 16 w on.
//
// A descriptor names a matrix of 16-bit elements, swizzled over 128 bytes (box_copy.h):
//     bits 0-13   where it begins, bits 16-29 leading, bits 32-45 stride, in units of 16 bytes
//     bits 49-51  0, the patterns of the swizzle begin at multiples of 1,024 bytes
//     bits 62-63  1, the swizzle
// By rows (K-major): row r, column k lies 128 (r % 8) + stride (r / 8) + 2 k behind the beginning,
// which may be 32, 64 or 96 bytes into a line. By columns (MN-major): row r, column k lies
// 2 (r % 64) + leading (r / 64) + 128 (k % 8) + stride (k / 8) behind it.
//
// A product happens when it is begun or when it is waited for. Until then its sums are poison; its
// other operands are read again at the end, so that what is changed meanwhile shows.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "engine/backend/cuda/emulation/grouped_work.h"

namespace reprise::engine::cuda::emulation {

// What one lane knows of a product: sums = (adds ? sums : 0) + A B.
struct GroupProduct {
  float* sums = nullptr;  // [tiles][4]
  int tiles = 0;
  bool adds = false;
  float (*widen)(uint16_t) = nullptr;
  const uint32_t* registers = nullptr;  // A [4], or in shared memory by rows:
  uint64_t a = 0;
  uint64_t b = 0;
  bool b_by_columns = false;
  // Registers of lanes 4 g .. 4 g + 3 of the warp.
  const uint32_t* neighbours[4] = {};
};

// The products of one thread. All calls come from it. Thread-hostile.
class GroupProducts {
 public:
  // wgmma.fence of these registers: what they hold now, products begun until the next wait may use.
  void Fence(const void* registers, size_t bytes);
  // By all lanes of the warpgroup. Fails unless all name the same matrices, and the registers are
  // those that were fenced, unchanged.
  void Begin(GroupProduct product);
  void Commit() { work_.Commit(); }
  // By all lanes of the warp.
  void Wait(int groups_left);
  // Fails unless no product into these sums is under way.
  void CheckDone(const float* sums);
  bool empty() const { return work_.empty(); }

 private:
  struct Fenced {
    const std::byte* registers;
    std::vector<std::byte> bytes;
  };
  // Sums that products under way add to.
  struct Sums {
    float* registers;
    std::vector<float> values;
    int products = 0;
  };

  void CheckFenced(const void* registers, size_t bytes);
  Sums* FindSums(const float* registers);
  void Finish(const GroupProduct& product);

  GroupedWork<GroupProduct> work_;
  std::vector<Fenced> fenced_;
  std::vector<Sums> under_way_;
};

}  // namespace reprise::engine::cuda::emulation
