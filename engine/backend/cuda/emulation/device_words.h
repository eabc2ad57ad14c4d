// The words of device code (kernels/device_code.h) over the emulation. The same list, with the
// same meaning, as kernels/cuda_words.cuh, which says what each does.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "engine/backend/cuda/emulation/thread_block.h"
#include "engine/backend/cuda/emulation/warp_mma.h"

#define REPRISE_DEVICE inline
#define REPRISE_UNROLL
#define REPRISE_NO_UNROLL

namespace reprise::engine::cuda {

struct alignas(16) Words4 {
  uint32_t x, y, z, w;
};

inline int BlockX() { return emulation::ThreadBlock::Current().x(); }
inline int BlockY() { return emulation::ThreadBlock::Current().y(); }
inline int GridX() { return emulation::ThreadBlock::Current().grid().x; }
inline int ThreadInBlock() { return emulation::ThreadBlock::Current().thread(); }
inline int ThreadsInBlock() { return emulation::ThreadBlock::Current().grid().threads; }

inline void SyncBlock() { emulation::ThreadBlock::Current().SyncBlock(); }
inline void SyncWarp() { emulation::ThreadBlock::Current().Exchange("warp barrier", nullptr, 0); }

template <typename T>
T ShuffleFrom(T value, int lane) {
  static_assert(sizeof(T) == 4);
  const std::byte* all =
      emulation::ThreadBlock::Current().Exchange("shuffle", &value, sizeof(value));
  std::memcpy(&value, all + lane % emulation::kWarpLanes * sizeof(T), sizeof(T));
  return value;
}
template <typename T>
T ShuffleXor(T value, int mask) {
  return ShuffleFrom(value, (ThreadInBlock() ^ mask) % emulation::kWarpLanes);
}

inline uint8_t* SharedBase() {
  return reinterpret_cast<uint8_t*>(emulation::ThreadBlock::Current().shared());
}
inline void CheckShared(const void* at, size_t bytes, size_t alignment) {
  emulation::ThreadBlock::Current().CheckShared(at, bytes, alignment, "shared memory");
}

inline Words4 Load16(const void* from) {
  if (reinterpret_cast<uintptr_t>(from) % 16 != 0) {
    emulation::ThreadBlock::Current().Fail("16-byte load: not aligned");
  }
  Words4 words;
  std::memcpy(&words, from, sizeof(words));
  return words;
}
inline void Load8(const void* from, uint32_t to[2]) {
  if (reinterpret_cast<uintptr_t>(from) % 8 != 0) {
    emulation::ThreadBlock::Current().Fail("8-byte load: not aligned");
  }
  std::memcpy(to, from, 8);
}
inline float LoadFresh(const float* from) { return *from; }
inline uint32_t AtomicIncrement(uint32_t* counter) { return (*counter)++; }
inline void AtomicAdd(uint64_t* sum, uint64_t amount) { *sum += amount; }
inline void FenceDevice() {}

inline void CopyAsync16(void* to, const void* from) {
  emulation::ThreadBlock::Current().BeginCopy(static_cast<std::byte*>(to),
                                              static_cast<const std::byte*>(from), 16);
}
inline void CommitCopies() { emulation::ThreadBlock::Current().CommitCopies(); }
template <int kGroupsLeft>
void WaitForCopies() {
  emulation::ThreadBlock::Current().WaitForCopies(kGroupsLeft);
}

inline void MultiplyAddF16(const uint32_t a[4], const uint32_t b[2], float c[4]) {
  emulation::MultiplyAdd(a, b, emulation::FloatOfF16, c);
}
inline void MultiplyAddBF16(const uint32_t a[4], const uint32_t b[2], float c[4]) {
  emulation::MultiplyAdd(a, b, emulation::FloatOfBF16, c);
}
inline void LoadMatrices(const void* row, uint32_t to[4]) {
  emulation::LoadMatrices(row, /*transposed=*/false, to);
}
inline void LoadMatricesTransposed(const void* row, uint32_t to[4]) {
  emulation::LoadMatrices(row, /*transposed=*/true, to);
}

inline uint32_t BitsOf(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return bits;
}
inline float FloatOf(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}
inline uint32_t BytePermute(uint32_t low, uint32_t high, uint32_t selector) {
  const uint64_t bytes = low | uint64_t{high} << 32;
  uint32_t result = 0;
  for (int i = 0; i < 4; ++i) {
    result |= static_cast<uint32_t>(bytes >> (8 * (selector >> (4 * i) & 7)) & 0xFF) << (8 * i);
  }
  return result;
}
inline uint32_t MaskedOr(uint32_t x, uint32_t mask, uint32_t bits) { return (x & mask) | bits; }
inline int HighestBit(int x) { return std::bit_width(static_cast<uint32_t>(x)) - 1; }
inline uint32_t PackF16(float low, float high) {
  return emulation::F16OfFloat(low) | uint32_t{emulation::F16OfFloat(high)} << 16;
}
inline uint32_t PackBF16(float low, float high) {
  return emulation::BF16OfFloat(low) | uint32_t{emulation::BF16OfFloat(high)} << 16;
}
inline float FloatOfF16(uint32_t bits) {
  return emulation::FloatOfF16(static_cast<uint16_t>(bits));
}
inline constexpr bool kConvertsE4M3 = false;  // tests of kv_fragments.cuh try both
inline uint32_t F16OfE4M3(uint32_t codes) {
  const auto number = [codes](int i) {
    const uint32_t code = codes >> (8 * i);
    const int exponent = static_cast<int>(code >> 3 & 15);
    const auto mantissa = static_cast<float>(code & 7);
    const float magnitude = (code & 0x7F) == 0x7F ? NAN
                            : exponent == 0       ? std::ldexp(mantissa, -9)
                                                  : std::ldexp(8 + mantissa, exponent - 10);
    return (code & 0x80) != 0 ? -magnitude : magnitude;
  };
  return PackF16(number(0), number(1));
}
inline uint32_t AddBF16x2(uint32_t x, uint32_t y) {
  const auto half = [](uint32_t word, int i) {
    return emulation::FloatOfBF16(static_cast<uint16_t>(word >> (16 * i)));
  };
  return PackBF16(half(x, 0) + half(y, 0), half(x, 1) + half(y, 1));
}

inline float MulRn(float x, float y) { return x * y; }
inline float AddRn(float x, float y) { return x + y; }
inline float SubRn(float x, float y) { return x - y; }
inline float DivRn(float x, float y) { return x / y; }
inline float SqrtRn(float x) { return std::sqrt(x); }
inline float FmaRn(float x, float y, float z) { return std::fma(x, y, z); }
inline int RoundToInt(float x) { return static_cast<int>(std::nearbyint(x)); }
inline float PowerOf2(float x) { return std::exp2(x); }
inline double Exp(double x) { return std::exp(x); }
inline float Erfc(float x) { return std::erfc(x); }
inline float Max(float x, float y) { return std::fmax(x, y); }
inline float Min(float x, float y) { return std::fmin(x, y); }
inline constexpr float kInfinity = INFINITY;
inline constexpr float kLargestFloat = 3.40282347e+38f;

}  // namespace reprise::engine::cuda
