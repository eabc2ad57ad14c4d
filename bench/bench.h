// The entry of `reprise bench <suite>`.
#pragma once

#include <string>
#include <vector>

namespace reprise::bench {

// Runs the suite named by args[0] with the options behind it; prints progress on stderr and the
// table on stdout. Returns the exit code: 0, 1 when the suite could not run or a goal was missed, 2
// for wrong usage.
int RunBench(const std::vector<std::string>& args);

}  // namespace reprise::bench
