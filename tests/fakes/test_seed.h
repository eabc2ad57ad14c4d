// TestSeed: the seed of a randomised test, printed so that a run can be repeated.
#pragma once

#include <cstdint>
#include <iostream>
#include <random>

#include "gtest/gtest.h"

namespace reprise {

// --gtest_random_seed=N if it is given, else another one every time.
inline uint32_t TestSeed() {
  uint32_t seed = static_cast<uint32_t>(GTEST_FLAG_GET(random_seed));
  if (seed == 0) seed = 1 + std::random_device()() % 99'999;
  std::cout << "seed " << seed << " (repeat it with --gtest_random_seed=" << seed << ")"
            << std::endl;
  return seed;
}

}  // namespace reprise
