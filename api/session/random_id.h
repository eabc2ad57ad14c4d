// Names that cannot be guessed. Thread-safe.
#pragma once

#include <cstddef>
#include <string>

namespace reprise::api {

inline constexpr size_t kIdBytes = 16;

// 16 bytes from the system's random number generator.
std::string RandomId();

}  // namespace reprise::api
