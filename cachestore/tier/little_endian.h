// Fixed-width integers and keys to and from bytes, least significant byte first: the byte order of
// everything the disk tier persists, except index keys. Pure functions.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cachestore/block/block_key.h"

namespace reprise::cachestore {

// Writes `value` to out[0, 4).
inline void PutLittleEndian32(uint32_t value, char* out) {
  for (int i = 0; i < 4; ++i) out[i] = static_cast<char>(value >> (8 * i));
}

// Writes `value` to out[0, 8).
inline void PutLittleEndian64(uint64_t value, char* out) {
  for (int i = 0; i < 8; ++i) out[i] = static_cast<char>(value >> (8 * i));
}

// Reads in[0, 4).
inline uint32_t GetLittleEndian32(const char* in) {
  uint32_t value = 0;
  for (int i = 0; i < 4; ++i) value |= uint32_t{static_cast<unsigned char>(in[i])} << (8 * i);
  return value;
}

// Reads in[0, 8).
inline uint64_t GetLittleEndian64(const char* in) {
  uint64_t value = 0;
  for (int i = 0; i < 8; ++i) value |= uint64_t{static_cast<unsigned char>(in[i])} << (8 * i);
  return value;
}

// Writes `key`, hi then lo, to out[0, 16).
inline void PutKey(const BlockKey& key, char* out) {
  PutLittleEndian64(key.hi, out);
  PutLittleEndian64(key.lo, out + 8);
}

// Reads in[0, 16).
inline BlockKey GetKey(const char* in) {
  return {GetLittleEndian64(in), GetLittleEndian64(in + 8)};
}

}  // namespace reprise::cachestore
