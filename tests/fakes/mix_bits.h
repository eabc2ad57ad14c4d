// MixBits: numbers that look random and can be made again. Pure.
#pragma once

#include <cstdint>

namespace reprise {

// One step of splitmix64: well-mixed bits of `x`.
inline uint64_t MixBits(uint64_t x) {
  x += 0x9e3779b97f4a7c15;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

}  // namespace reprise
