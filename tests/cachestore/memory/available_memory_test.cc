#include "cachestore/memory/available_memory.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <limits>
#include <string>

namespace reprise::cachestore {
namespace {

constexpr int64_t kMachineBytes = int64_t{1000000} * 1024;

// A directory that looks like the root of a file system with /proc and /sys.
class AvailableMemoryTest : public ::testing::Test {
 protected:
  AvailableMemoryTest() : root_(testing::TempDir() + "/available_memory_XXXXXX") {
    EXPECT_NE(mkdtemp(root_.data()), nullptr);
    Write(
        "/proc/meminfo",
        "MemTotal:        2000000 kB\nMemFree:          500000 kB\nMemAvailable:    1000000 kB\n");
  }
  ~AvailableMemoryTest() override { std::filesystem::remove_all(root_); }

  void Write(const std::string& path, const std::string& text) {
    std::filesystem::create_directories(std::filesystem::path(root_ + path).parent_path());
    std::ofstream(root_ + path) << text;
  }
  void WriteCgroup(const std::string& name, const std::string& max, int64_t current,
                   int64_t inactive_file) {
    const std::string directory = "/sys/fs/cgroup" + name;
    Write(directory + "/memory.max", max + "\n");
    Write(directory + "/memory.current", std::to_string(current) + "\n");
    Write(directory + "/memory.stat", "anon 5\nfile 77\nactive_file 70\ninactive_file " +
                                          std::to_string(inactive_file) + "\nslab 3\n");
  }

  std::string root_;
};

TEST_F(AvailableMemoryTest, WithoutCgroupsTheMachineSaysHowMuch) {
  EXPECT_EQ(AvailableMemoryBytes(root_), kMachineBytes);
  Write("/proc/self/cgroup", "0::/a/b\n");
  EXPECT_EQ(AvailableMemoryBytes(root_), kMachineBytes) << "there are no files for it";
  EXPECT_EQ(AvailableMemoryBytes(root_ + "/nowhere"), std::numeric_limits<int64_t>::max());
}

TEST_F(AvailableMemoryTest, TheTightestCgroupOnTheWayUpCounts) {
  Write("/proc/self/cgroup", "3:cpu:/other\n0::/system/service/worker\n");
  WriteCgroup("/system/service/worker", "max", 100, 0);
  WriteCgroup("/system/service", "5000", 1000, 0);
  WriteCgroup("/system", "100000", 99000, 0);
  EXPECT_EQ(AvailableMemoryBytes(root_), 1000);
  WriteCgroup("/system", "100000", 9000, 0);
  EXPECT_EQ(AvailableMemoryBytes(root_), 4000);
  WriteCgroup("/system/service/worker", "900", 100, 0);
  EXPECT_EQ(AvailableMemoryBytes(root_), 800);
  WriteCgroup("/other", "1", 0, 0);
  EXPECT_EQ(AvailableMemoryBytes(root_), 800) << "not on the way";
}

TEST_F(AvailableMemoryTest, InAContainerTheRootIsTheOwnCgroup) {
  Write("/proc/self/cgroup", "0::/\n");
  WriteCgroup("", "7000", 3000, 0);
  EXPECT_EQ(AvailableMemoryBytes(root_), 4000);
}

TEST_F(AvailableMemoryTest, PageCacheThatIsGivenBackFirstIsNotUsage) {
  Write("/proc/self/cgroup", "0::/a\n");
  WriteCgroup("/a", "7000", 6900, 6000);
  EXPECT_EQ(AvailableMemoryBytes(root_), 6100);
  WriteCgroup("/a", "7000", 6900, 60000);
  EXPECT_EQ(AvailableMemoryBytes(root_), 7000);
  WriteCgroup("/a", "7000", 9000, 0);
  EXPECT_EQ(AvailableMemoryBytes(root_), 0);
}

}  // namespace
}  // namespace reprise::cachestore
