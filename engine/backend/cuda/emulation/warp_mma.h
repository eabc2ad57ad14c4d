// The warp's matrix operations, emulated: who holds which element as the PTX ISA says for
// mma.m16n8k16 and ldmatrix. Products are exact, sums are rounded to f32 once: a card rounds more
// often, so results agree to f32's precision, not bit for bit.
//
// Lane l = 4 g + t. Two 16-bit elements to a register, the first in the low half.
//     A [16, 16]: a[0] = row g, columns 2t, 2t+1; a[1] = row g+8; a[2], a[3]: columns + 8
//     B [16, 8]:  b[0] = rows 2t, 2t+1, column g; b[1]: rows + 8
//     C [16, 8]:  c[0], c[1] = row g, columns 2t, 2t+1; c[2], c[3] = row g+8
#pragma once

#include <cstdint>

namespace reprise::engine::cuda::emulation {

float FloatOfF16(uint16_t bits);
float FloatOfBF16(uint16_t bits);
// To nearest, ties to even; beyond the largest number infinity.
uint16_t F16OfFloat(float value);
uint16_t BF16OfFloat(float value);

// C += A B, by all lanes of the warp together. `widen` reads an element of A and B.
void MultiplyAdd(const uint32_t a[4], const uint32_t b[2], float (*widen)(uint16_t), float c[4]);

// ldmatrix.x4: lane 8 i + r gives the address of row r of matrix i, 16 bytes of shared memory, at a
// multiple of 16. to[i] = row g, columns 2t, 2t+1 of matrix i; of its transpose when `transposed`.
void LoadMatrices(const void* row, bool transposed, uint32_t to[4]);

}  // namespace reprise::engine::cuda::emulation
