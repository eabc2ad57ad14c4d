// The `bench` command of `reprise`.
#pragma once

#include "api/cli/flag_set.h"

namespace reprise::bench {

// Adds the command `bench` with one command below it per suite. A suite prints its table, appends
// JSON lines where --json asks for them, and ends with exit code 1 when a goal is missed.
void AddBenchCommand(api::FlagSet& program);

}  // namespace reprise::bench
