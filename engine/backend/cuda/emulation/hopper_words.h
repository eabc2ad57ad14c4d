// The words of device code for sm_90a (kernels/hopper_code.h) over the emulation. The same list,
// with the same meaning, as kernels/hopper_words.cuh, which says what each does.
#pragma once

#include <cstdint>

#include "engine/backend/cuda/emulation/box_copy.h"
#include "engine/backend/cuda/emulation/device_words.h"
#include "engine/backend/cuda/emulation/group_mma.h"
#include "engine/backend/cuda/emulation/phase_barriers.h"
#include "engine/backend/cuda/emulation/thread_block.h"
#include "engine/backend/cuda/emulation/warp_mma.h"

namespace reprise::engine::cuda {

using TensorMap = emulation::BoxMap;

inline uint32_t SharedAddress(const void* at) {
  return static_cast<uint32_t>(static_cast<const std::byte*>(at) -
                               emulation::ThreadBlock::Current().shared());
}
inline void SyncThreads(int barrier, int threads) {
  emulation::ThreadBlock::Current().SyncNamed(barrier, threads);
}

inline void InitBarrier(uint64_t* at, int arrivals) {
  emulation::ThreadBlock::Current().barriers().Init(at, arrivals);
}
inline void FenceBarriers() { emulation::ThreadBlock::Current().barriers().Fence(); }
inline void Arrive(uint64_t* at) { emulation::ThreadBlock::Current().barriers().Arrive(at, 0); }
inline void ArriveForBytes(uint64_t* at, int bytes) {
  emulation::ThreadBlock::Current().barriers().Arrive(at, bytes);
}
inline void WaitForPhase(uint64_t* at, int parity) {
  emulation::ThreadBlock::Current().barriers().Wait(at, parity);
}

inline void CopyBox(void* to, const TensorMap& map, int column, int row, uint64_t* at) {
  emulation::CopyBox(to, map, column, row, at);
}
inline void StoreForAsync(void* to, const Words4& words) {
  emulation::ThreadBlock::Current().StoreForAsync(static_cast<std::byte*>(to), &words);
}
inline void FenceAsync() { emulation::ThreadBlock::Current().FenceAsync(); }

template <int kRegisters>
void RaiseRegisters() {}
template <int kRegisters>
void LowerRegisters() {}

template <typename... Registers>
void FenceProducts(Registers&... registers) {
  (emulation::ThreadBlock::Current().products().Fence(&registers, sizeof(registers)), ...);
}
template <bool kIsBF16, int kTiles>
void MultiplyShared(float (&sums)[kTiles][4], uint64_t a, uint64_t b, bool adds) {
  emulation::GroupProduct product;
  product.sums = &sums[0][0];
  product.tiles = kTiles;
  product.adds = adds;
  product.widen = kIsBF16 ? emulation::FloatOfBF16 : emulation::FloatOfF16;
  product.a = a;
  product.b = b;
  emulation::ThreadBlock::Current().products().Begin(product);
}
template <bool kIsBF16, int kTiles>
void MultiplyRegisters(float (&sums)[kTiles][4], const uint32_t (&a)[4], uint64_t b) {
  emulation::GroupProduct product;
  product.sums = &sums[0][0];
  product.tiles = kTiles;
  product.adds = true;
  product.widen = kIsBF16 ? emulation::FloatOfBF16 : emulation::FloatOfF16;
  product.registers = a;
  product.b = b;
  product.b_by_columns = true;
  emulation::ThreadBlock::Current().products().Begin(product);
}
inline void CommitProducts() { emulation::ThreadBlock::Current().products().Commit(); }
template <int kGroupsLeft, int kTiles>
void WaitForProducts(float (&sums)[kTiles][4]) {
  emulation::ThreadBlock::Current().products().Wait(kGroupsLeft);
  emulation::ThreadBlock::Current().products().CheckDone(&sums[0][0]);
}

}  // namespace reprise::engine::cuda
