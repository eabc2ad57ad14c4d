#include "engine/backend/cuda/emulation/warp_mma.h"

#include <cmath>
#include <cstring>

#include "engine/backend/cuda/emulation/thread_block.h"

namespace reprise::engine::cuda::emulation {
namespace {

uint16_t Half(uint32_t word, int which) { return static_cast<uint16_t>(word >> (16 * which)); }

// What a lane holds of A and B, widened: the elements of a[0], a[1], ... and of b[0], b[1].
struct Operands {
  float a[8];
  float b[4];
};

}  // namespace

float FloatOfBF16(uint16_t bits) {
  const uint32_t word = uint32_t{bits} << 16;
  float value;
  std::memcpy(&value, &word, sizeof(value));
  return value;
}

float FloatOfF16(uint16_t bits) {
  const bool is_finite = (bits & 0x7C00) != 0x7C00;
  // The exponent's bias is 112 less; scaling also makes subnormals normal.
  const uint32_t word = uint32_t{bits & 0x7FFFu} << 13 | (is_finite ? 0 : 0x7F800000u);
  float magnitude;
  std::memcpy(&magnitude, &word, sizeof(magnitude));
  if (is_finite) magnitude *= 0x1.0p112f;
  return (bits & 0x8000) != 0 ? -magnitude : magnitude;
}

uint16_t F16OfFloat(float value) {
  const uint16_t sign = std::signbit(value) ? 0x8000 : 0;
  if (std::isnan(value)) return 0x7FFF;
  const float magnitude = std::fabs(value);
  if (magnitude >= 65520.0f) return sign | 0x7C00;
  if (magnitude == 0) return sign;
  int exponent = 0;
  std::frexp(magnitude, &exponent);  // magnitude in [2^(exponent - 1), 2^exponent)
  const int place = std::max(exponent - 1, -14) - 10;
  // Steps of 2^place, ties to even; a carry into the next exponent is right by itself.
  const auto steps = static_cast<int>(std::nearbyint(std::ldexp(magnitude, -place)));
  return sign | static_cast<uint16_t>(((place + 24) << 10) + steps);
}

uint16_t BF16OfFloat(float value) {
  if (std::isnan(value)) return 0x7FFF;
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return static_cast<uint16_t>((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
}

void MultiplyAdd(const uint32_t a[4], const uint32_t b[2], float (*widen)(uint16_t), float c[4]) {
  Operands mine;
  for (int i = 0; i < 8; ++i) mine.a[i] = widen(Half(a[i / 2], i % 2));
  for (int i = 0; i < 4; ++i) mine.b[i] = widen(Half(b[i / 2], i % 2));
  ThreadBlock& block = ThreadBlock::Current();
  const auto* lanes = reinterpret_cast<const Operands*>(block.Exchange("mma", &mine, sizeof(mine)));
  const int lane = block.thread() % kWarpLanes;
  for (int i = 0; i < 4; ++i) {
    const int row = lane / 4 + 8 * (i / 2);
    const int column = 2 * (lane % 4) + i % 2;
    double sum = c[i];
    for (int t = 0; t < 4; ++t) {
      const float* left = lanes[4 * (row % 8) + t].a + 2 * (row / 8);
      const float* right = lanes[4 * column + t].b;
      sum += double{left[0]} * right[0] + double{left[1]} * right[1];  // k = 2 t, 2 t + 1
      sum += double{left[4]} * right[2] + double{left[5]} * right[3];  // k = 2 t + 8, 2 t + 9
    }
    c[i] = static_cast<float>(sum);
  }
}

void LoadMatrices(const void* row, bool transposed, uint32_t to[4]) {
  ThreadBlock& block = ThreadBlock::Current();
  block.CheckShared(row, 16, 16, "ldmatrix");
  const void* rows[kWarpLanes];
  std::memcpy(rows, block.Exchange(transposed ? "ldmatrix.trans" : "ldmatrix", &row, sizeof(row)),
              sizeof(rows));
  const int lane = block.thread() % kWarpLanes;
  for (int i = 0; i < 4; ++i) {
    uint16_t pair[2];
    for (int j = 0; j < 2; ++j) {
      const int first = lane / 4;
      const int second = 2 * (lane % 4) + j;
      const int r = transposed ? second : first;
      const int column = transposed ? first : second;
      std::memcpy(&pair[j], static_cast<const uint16_t*>(rows[8 * i + r]) + column, 2);
    }
    to[i] = pair[0] | uint32_t{pair[1]} << 16;
  }
  // On a card all lanes read at once: none may write there before all have read.
  block.Exchange("end of ldmatrix", nullptr, 0);
}

}  // namespace reprise::engine::cuda::emulation
