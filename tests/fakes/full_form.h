// Whether tests of faults and races run in their full form, minutes to hours long, as
// tests/faults.sh asks for, or in the short form of every other run.
#pragma once

#include <cstdlib>

namespace reprise {

inline bool FullForm() { return std::getenv("REPRISE_FULL_FAULTS") != nullptr; }

}  // namespace reprise
