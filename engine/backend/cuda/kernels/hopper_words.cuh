// The words of device code for sm_90a on a card. The same list, with the same meaning, as
// emulation/hopper_words.h.
#pragma once

#include <cstdint>

#include "engine/backend/cuda/kernels/cuda_words.cuh"

namespace reprise::engine::cuda {

// Barrier `barrier` (1 to 15) for `threads` threads of the block, whole warps.
REPRISE_DEVICE void SyncThreads(int barrier, int threads) {
  asm volatile("bar.sync %0, %1;" ::"r"(barrier), "r"(threads) : "memory");
}

// An mbarrier: 8 bytes of shared memory. Its phase ends when `arrivals` arrivals have come and the
// bytes that they announced have landed; then the next one begins.
REPRISE_DEVICE void InitBarrier(uint64_t* at, int arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(SharedAddress(at)), "r"(arrivals)
               : "memory");
}
// Lets copies see the barriers that this thread made.
REPRISE_DEVICE void FenceBarriers() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}
REPRISE_DEVICE void Arrive(uint64_t* at) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(SharedAddress(at)) : "memory");
}
// One arrival that announces `bytes`.
REPRISE_DEVICE void ArriveForBytes(uint64_t* at, int bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(SharedAddress(at)),
               "r"(bytes)
               : "memory");
}
// Until the phase of this parity has ended: 0 for the first, third, ... phase. 1 passes at once
// while the first one lasts.
REPRISE_DEVICE void WaitForPhase(uint64_t* at, int parity) {
  uint32_t has_ended = 0;
  do {
    asm volatile(
        "{\n"
        ".reg .pred p;\n"
        "mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\n"
        "selp.u32 %0, 1, 0, p;\n"
        "}"
        : "=r"(has_ended)
        : "r"(SharedAddress(at)), "r"(parity)
        : "memory");
  } while (has_ended == 0);
}

// How a tensor lies in global memory, and boxes of it: a CUtensorMap, made by EncodeTensorMap. Only
// as a __grid_constant__ parameter of a kernel.
struct alignas(64) TensorMap {
  uint64_t opaque[16];
};
// Begins to copy the box whose first element is (`row`, `column`) to `to`, a multiple of 1,024
// bytes, swizzled over 128; its bytes land at the barrier `at`. By one thread.
REPRISE_DEVICE void CopyBox(void* to, const TensorMap& map, int column, int row, uint64_t* at) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes"
      " [%0], [%1, {%2, %3}], [%4];" ::"r"(SharedAddress(to)),
      "l"(reinterpret_cast<uint64_t>(&map)), "r"(column), "r"(row), "r"(SharedAddress(at))
      : "memory");
}
// 16 bytes of shared memory for products and copies of boxes, which see them when the thread that
// stored them has fenced them.
REPRISE_DEVICE void StoreForAsync(void* to, const Words4& words) {
  *static_cast<Words4*>(to) = words;
}
REPRISE_DEVICE void FenceAsync() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

// Registers of each thread of the warpgroup from here on, out of what others gave back.
template <int kRegisters>
REPRISE_DEVICE void RaiseRegisters() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kRegisters));
}
template <int kRegisters>
REPRISE_DEVICE void LowerRegisters() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kRegisters));
}

// Keeps the compiler from moving what writes or reads these registers across this place.
template <int kTiles>
REPRISE_DEVICE void HoldRegisters(float (&sums)[kTiles][4]) {
  REPRISE_UNROLL
  for (int j = 0; j < kTiles; ++j) {
    asm volatile(""
                 : "+f"(sums[j][0]), "+f"(sums[j][1]), "+f"(sums[j][2]),
                   "+f"(sums[j][3])::"memory");
  }
}
template <int kSteps>
REPRISE_DEVICE void HoldRegisters(uint32_t (&a)[kSteps][4]) {
  REPRISE_UNROLL
  for (int s = 0; s < kSteps; ++s) {
    asm volatile("" : "+r"(a[s][0]), "+r"(a[s][1]), "+r"(a[s][2]), "+r"(a[s][3])::"memory");
  }
}

// Products of a warpgroup, m64nNk16: sums [64, 8 kTiles] += A B. They run in order, behind the
// thread's back. Who holds what, and how matrices in shared memory are described:
// emulation/group_mma.h and DescribeMatrix.
//
// Before the first product after a wait: names the registers that products will use, sums too.
template <typename... Registers>
REPRISE_DEVICE void FenceProducts(Registers&... registers) {
  (HoldRegisters(registers), ...);
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}
// What was begun since the last commit becomes a group.
REPRISE_DEVICE void CommitProducts() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
// Until at most the newest kGroupsLeft groups are under way; `sums` can be read then.
template <int kGroupsLeft, int kTiles>
REPRISE_DEVICE void WaitForProducts(float (&sums)[kTiles][4]) {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kGroupsLeft) : "memory");
  HoldRegisters(sums);
}

#define REPRISE_SUMS_4(s, j) "+f"(s[j][0]), "+f"(s[j][1]), "+f"(s[j][2]), "+f"(s[j][3])
#define REPRISE_SUMS_32(s, j)                                                       \
  REPRISE_SUMS_4(s, j), REPRISE_SUMS_4(s, j + 1), REPRISE_SUMS_4(s, j + 2),         \
      REPRISE_SUMS_4(s, j + 3), REPRISE_SUMS_4(s, j + 4), REPRISE_SUMS_4(s, j + 5), \
      REPRISE_SUMS_4(s, j + 6), REPRISE_SUMS_4(s, j + 7)
#define REPRISE_NAMES_32                                                                       \
  "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, " \
  "%20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define REPRISE_NAMES_64                                                                    \
  REPRISE_NAMES_32                                                                          \
  ", %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, %48, " \
  "%49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define REPRISE_MULTIPLY_SHARED_128(type)                                                \
  asm volatile(                                                                          \
      "{\n"                                                                              \
      ".reg .pred adds;\n"                                                               \
      "setp.ne.b32 adds, %66, 0;\n"                                                      \
      "wgmma.mma_async.sync.aligned.m64n128k16.f32." type "." type " {" REPRISE_NAMES_64 \
      "}, %64, %65, adds, 1, 1, 0, 0;\n"                                                 \
      "}"                                                                                \
      : REPRISE_SUMS_32(sums, 0), REPRISE_SUMS_32(sums, 8)                               \
      : "l"(a), "l"(b), "r"(static_cast<int>(adds)))
#define REPRISE_MULTIPLY_REGISTERS_128(type)                                                      \
  asm volatile("wgmma.mma_async.sync.aligned.m64n128k16.f32." type "." type " {" REPRISE_NAMES_64 \
               "}, {%64, %65, %66, %67}, %68, 1, 1, 1, 1;"                                        \
               : REPRISE_SUMS_32(sums, 0), REPRISE_SUMS_32(sums, 8)                               \
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b))
#define REPRISE_MULTIPLY_REGISTERS_64(type)                                                      \
  asm volatile("wgmma.mma_async.sync.aligned.m64n64k16.f32." type "." type " {" REPRISE_NAMES_32 \
               "}, {%32, %33, %34, %35}, %36, 1, 1, 1, 1;"                                       \
               : REPRISE_SUMS_32(sums, 0)                                                        \
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b))

// sums = (adds ? sums : 0) + A B; A [64, 16] and B^T [128, 16] in shared memory, by rows.
template <bool kIsBF16, int kTiles>
REPRISE_DEVICE void MultiplyShared(float (&sums)[kTiles][4], uint64_t a, uint64_t b, bool adds) {
  static_assert(kTiles == 16);
  if constexpr (kIsBF16) {
    REPRISE_MULTIPLY_SHARED_128("bf16");
  } else {
    REPRISE_MULTIPLY_SHARED_128("f16");
  }
}
// sums += A B; A [64, 16] in registers, B^T [8 kTiles, 16] in shared memory, by columns.
template <bool kIsBF16, int kTiles>
REPRISE_DEVICE void MultiplyRegisters(float (&sums)[kTiles][4], const uint32_t (&a)[4],
                                      uint64_t b) {
  static_assert(kTiles == 8 || kTiles == 16);
  if constexpr (kTiles == 16 && kIsBF16) {
    REPRISE_MULTIPLY_REGISTERS_128("bf16");
  } else if constexpr (kTiles == 16) {
    REPRISE_MULTIPLY_REGISTERS_128("f16");
  } else if constexpr (kIsBF16) {
    REPRISE_MULTIPLY_REGISTERS_64("bf16");
  } else {
    REPRISE_MULTIPLY_REGISTERS_64("f16");
  }
}

#undef REPRISE_SUMS_4
#undef REPRISE_SUMS_32
#undef REPRISE_NAMES_32
#undef REPRISE_NAMES_64
#undef REPRISE_MULTIPLY_SHARED_128
#undef REPRISE_MULTIPLY_REGISTERS_128
#undef REPRISE_MULTIPLY_REGISTERS_64

}  // namespace reprise::engine::cuda
