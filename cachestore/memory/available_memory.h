// How much memory can still be allocated before the kernel would kill a process for it.
#pragma once

#include <cstdint>
#include <string>

namespace reprise::cachestore {

// Bytes that this process can still allocate: what the machine has available, and what every memory
// cgroup (version 2) from the process's own up to the root leaves. Page cache that the kernel would
// give back counts as available. The greatest int64_t when nothing says a limit. `root` stands
// before the paths in /proc and /sys, for tests.
int64_t AvailableMemoryBytes(const std::string& root = "");

}  // namespace reprise::cachestore
