// The words of device code on a card of compute capability 8.0 or later. The same list, with the
// same meaning, as emulation/device_words.h.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

#define REPRISE_DEVICE __device__ __forceinline__
// Before a loop whose arrays must stay in registers.
#define REPRISE_UNROLL _Pragma("unroll")
#define REPRISE_NO_UNROLL _Pragma("unroll 1")

namespace reprise::engine::cuda {

struct alignas(16) Words4 {
  uint32_t x, y, z, w;
};

REPRISE_DEVICE int BlockX() { return static_cast<int>(blockIdx.x); }
REPRISE_DEVICE int BlockY() { return static_cast<int>(blockIdx.y); }
REPRISE_DEVICE int GridX() { return static_cast<int>(gridDim.x); }
REPRISE_DEVICE int ThreadInBlock() { return static_cast<int>(threadIdx.x); }
REPRISE_DEVICE int ThreadsInBlock() { return static_cast<int>(blockDim.x); }

// All threads of the block, all lanes of the warp: what each wrote before, the others see after.
REPRISE_DEVICE void SyncBlock() { __syncthreads(); }
REPRISE_DEVICE void SyncWarp() { __syncwarp(); }

// The value of another lane. By all lanes of the warp; T has 4 bytes.
template <typename T>
REPRISE_DEVICE T ShuffleFrom(T value, int lane) {
  return __shfl_sync(0xFFFFFFFFu, value, lane);
}
template <typename T>
REPRISE_DEVICE T ShuffleXor(T value, int mask) {
  return __shfl_xor_sync(0xFFFFFFFFu, value, mask);
}

// The block's dynamic shared memory, at a multiple of 1,024 bytes.
REPRISE_DEVICE uint8_t* SharedBase() {
  extern __shared__ __align__(1024) uint8_t shared_memory[];
  return shared_memory;
}
REPRISE_DEVICE void CheckShared(const void*, size_t, size_t) {}

// 16 bytes of global memory that this kernel does not write, at a multiple of 16.
REPRISE_DEVICE Words4 Load16(const void* from) {
  Words4 words;
  asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(words.x), "=r"(words.y), "=r"(words.z), "=r"(words.w)
               : "l"(from));
  return words;
}
// 8 bytes, likewise.
REPRISE_DEVICE void Load8(const void* from, uint32_t to[2]) {
  asm volatile("ld.global.nc.L1::no_allocate.v2.u32 {%0, %1}, [%2];"
               : "=r"(to[0]), "=r"(to[1])
               : "l"(from));
}
// What another block may have written during this launch.
REPRISE_DEVICE float LoadFresh(const float* from) { return __ldcg(from); }
// Returns what the counter was.
REPRISE_DEVICE uint32_t AtomicIncrement(uint32_t* counter) { return atomicAdd(counter, 1u); }
// A sum in shared memory.
REPRISE_DEVICE void AtomicAdd(uint64_t* sum, uint64_t amount) {
  atomicAdd(reinterpret_cast<unsigned long long*>(sum), static_cast<unsigned long long>(amount));
}
// What this thread wrote before, all threads of the card see before what it writes after.
REPRISE_DEVICE void FenceDevice() { __threadfence(); }

// 16 bytes from global to shared memory, both at multiples of 16, some time until the group that
// CommitCopies closes is waited for: WaitForCopies leaves the newest kGroupsLeft groups under way.
REPRISE_DEVICE uint32_t SharedAddress(const void* at) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(at));
}
REPRISE_DEVICE void CopyAsync16(void* to, const void* from) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(SharedAddress(to)), "l"(from)
               : "memory");
}
REPRISE_DEVICE void CommitCopies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int kGroupsLeft>
REPRISE_DEVICE void WaitForCopies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kGroupsLeft) : "memory");
}

// C += A B by the warp; who holds what: emulation/warp_mma.h.
REPRISE_DEVICE void MultiplyAddF16(const uint32_t a[4], const uint32_t b[2], float c[4]) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
      "{%8, %9}, {%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
REPRISE_DEVICE void MultiplyAddBF16(const uint32_t a[4], const uint32_t b[2], float c[4]) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
      "{%8, %9}, {%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
// Four 8 x 8 matrices of 16-bit elements; lane 8 i + r gives the place of row r of matrix i.
REPRISE_DEVICE void LoadMatrices(const void* row, uint32_t to[4]) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
               : "r"(SharedAddress(row))
               : "memory");
}
REPRISE_DEVICE void LoadMatricesTransposed(const void* row, uint32_t to[4]) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
               : "r"(SharedAddress(row))
               : "memory");
}

REPRISE_DEVICE uint32_t BitsOf(float value) { return __float_as_uint(value); }
REPRISE_DEVICE float FloatOf(uint32_t bits) { return __uint_as_float(bits); }
// Byte i of the result is byte (selector >> 4 i) % 8 of low (0 to 3) and high (4 to 7).
REPRISE_DEVICE uint32_t BytePermute(uint32_t low, uint32_t high, uint32_t selector) {
  return __byte_perm(low, high, selector);
}
// (x & mask) | bits. One instruction, where the compiler makes two of constants.
REPRISE_DEVICE uint32_t MaskedOr(uint32_t x, uint32_t mask, uint32_t bits) {
  uint32_t word;
  asm("lop3.b32 %0, %1, %2, %3, 0xEA;" : "=r"(word) : "r"(x), "r"(mask), "r"(bits));
  return word;
}
// The place of the highest bit; x > 0.
REPRISE_DEVICE int HighestBit(int x) { return 31 - __clz(x); }
// Two numbers rounded to 16 bits, to nearest, ties to even.
REPRISE_DEVICE uint32_t PackF16(float low, float high) {
  uint32_t pair;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
}
REPRISE_DEVICE uint32_t PackBF16(float low, float high) {
  uint32_t pair;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
}
// The f16 in the low half.
REPRISE_DEVICE float FloatOfF16(uint32_t bits) {
  return __half2float(__ushort_as_half(static_cast<unsigned short>(bits)));
}
// Whether the card turns e4m3 into f16: cards of compute capability 8.9 and later do.
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 890
inline constexpr bool kConvertsE4M3 = true;
#else
inline constexpr bool kConvertsE4M3 = false;
#endif
// The e4m3 numbers in the two lowest bytes. On cards that convert.
REPRISE_DEVICE uint32_t F16OfE4M3(uint32_t codes) {
  uint32_t pair;
  asm("cvt.rn.f16x2.e4m3x2 %0, %1;" : "=r"(pair) : "h"(static_cast<unsigned short>(codes)));
  return pair;
}
// Sums of the low and of the high bf16.
REPRISE_DEVICE uint32_t AddBF16x2(uint32_t x, uint32_t y) {
  uint32_t sum;
  asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(sum) : "r"(x), "r"(0x3F803F80u), "r"(y));
  return sum;
}

// One rounding each: never put together into a multiply-add.
REPRISE_DEVICE float MulRn(float x, float y) { return __fmul_rn(x, y); }
REPRISE_DEVICE float AddRn(float x, float y) { return __fadd_rn(x, y); }
REPRISE_DEVICE float SubRn(float x, float y) { return __fsub_rn(x, y); }
REPRISE_DEVICE float DivRn(float x, float y) { return __fdiv_rn(x, y); }
REPRISE_DEVICE float SqrtRn(float x) { return __fsqrt_rn(x); }
// x y + z, rounded once.
REPRISE_DEVICE float FmaRn(float x, float y, float z) { return __fmaf_rn(x, y, z); }
// To nearest, ties to even.
REPRISE_DEVICE int RoundToInt(float x) { return __float2int_rn(x); }
// 2^x, within 2 units in the last place; 0 for minus infinity.
REPRISE_DEVICE float PowerOf2(float x) {
  float power;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(power) : "f"(x));
  return power;
}
// e^x, within 1 unit in the last place.
REPRISE_DEVICE double Exp(double x) { return exp(x); }
REPRISE_DEVICE float Erfc(float x) { return erfcf(x); }
// Of a number and a NaN the number.
REPRISE_DEVICE float Max(float x, float y) { return fmaxf(x, y); }
REPRISE_DEVICE float Min(float x, float y) { return fminf(x, y); }
inline constexpr float kInfinity = __builtin_huge_valf();
inline constexpr float kLargestFloat = 3.40282347e+38f;

}  // namespace reprise::engine::cuda
