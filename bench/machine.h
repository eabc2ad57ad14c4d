// The machine that a benchmark runs on, in words. Thread-safe.
#pragma once

#include <string>

namespace reprise::bench {

// "2 x AMD EPYC, 23 GiB RAM, Linux 6.1.0".
std::string MachineInWords();

// "ext4 on vda", for the file system that holds `path`; "unknown" where the kernel does not tell.
std::string FileSystemInWords(const std::string& path);

}  // namespace reprise::bench
