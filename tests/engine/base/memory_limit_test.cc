#include "engine/base/memory_limit.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <string>

namespace longhaul {
namespace {

class MemoryLimitTest : public ::testing::Test {
 protected:
  void SetUp() override {
    root_ = std::filesystem::path(::testing::TempDir()) /
            (::testing::UnitTest::GetInstance()->current_test_info()->name() + std::to_string(getpid()));
    std::filesystem::remove_all(root_);
  }
  void TearDown() override { std::filesystem::remove_all(root_); }

  void Write(const std::string& file, const std::string& text) {
    std::filesystem::create_directories((root_ / file).parent_path());
    std::ofstream(root_ / file) << text;
  }

  std::filesystem::path root_;
};

TEST_F(MemoryLimitTest, IsTheMachinesWhereNothingElseIsSaid) {
  const int64_t machine = MemoryLimit(root_);
  EXPECT_GT(machine, int64_t{64} << 20);
  Write("proc/self/cgroup", "0::/\n");
  Write("sys/fs/cgroup/memory.max", "max\n");
  EXPECT_EQ(MemoryLimit(root_), machine);
  Write("sys/fs/cgroup/memory.max", "9223372036854771712\n");
  EXPECT_EQ(MemoryLimit(root_), machine);
  EXPECT_LE(MemoryLimit(), machine);
}

TEST_F(MemoryLimitTest, IsAContainers) {
  Write("proc/self/cgroup", "0::/\n");
  Write("sys/fs/cgroup/memory.max", "67108864\n");
  EXPECT_EQ(MemoryLimit(root_), 64 << 20);
}

TEST_F(MemoryLimitTest, IsTheLeastOfTheGroupsAbove) {
  Write("proc/self/cgroup", "0::/system.slice/longhaul.service\n");
  Write("sys/fs/cgroup/system.slice/longhaul.service/memory.max", "max\n");
  Write("sys/fs/cgroup/system.slice/memory.max", "1048576\n");
  EXPECT_EQ(MemoryLimit(root_), 1 << 20);
  Write("sys/fs/cgroup/system.slice/longhaul.service/memory.max", "524288\n");
  EXPECT_EQ(MemoryLimit(root_), 1 << 19);
}

TEST_F(MemoryLimitTest, KnowsTheFirstVersionOfControlGroups) {
  Write("proc/self/cgroup", "5:cpu:/x\n4:memory:/docker/abc\n0::/\nnonsense\n\n");
  Write("sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes", "2097152\n");
  EXPECT_EQ(MemoryLimit(root_), 2 << 20);
}

TEST_F(MemoryLimitTest, IsTheAddressSpaceWhereThatIsLess) {
  EXPECT_FALSE(AddressSpaceLeft(root_).has_value());
  Write("proc/self/limits", "Limit  Soft  Hard  Units\nMax address space         unlimited  unlimited  bytes\n");
  EXPECT_FALSE(AddressSpaceLeft(root_).has_value());
  Write("proc/self/limits",
        "Max resident set          unlimited            unlimited            bytes\n"
        "Max address space         33554432             unlimited            bytes\n");
  Write("proc/self/status", "VmPeak:	   99999 kB\nVmSize:	   24576 kB\n");
  EXPECT_EQ(MemoryLimit(root_), 32 << 20);
  EXPECT_EQ(AddressSpaceLeft(root_), 8 << 20);
  EXPECT_EQ(AvailableMemory(root_), 8 << 20);
  Write("proc/self/status", "VmSize:	   99999 kB\n");
  EXPECT_EQ(AddressSpaceLeft(root_), 0);
}

TEST_F(MemoryLimitTest, WhatIsFreeIsTheMachinesOrTheLeastThatAGroupHasLeft) {
  EXPECT_EQ(AvailableMemory(root_), MemoryLimit(root_)) << "nothing is said";
  Write("proc/meminfo", "MemTotal:       2097152 kB\nMemFree:           1024 kB\nMemAvailable:      4096 kB\n");
  EXPECT_EQ(AvailableMemory(root_), 4 << 20);
  Write("proc/self/cgroup", "0::/pod/one\n");
  Write("sys/fs/cgroup/pod/one/memory.max", "3145728\n");
  Write("sys/fs/cgroup/pod/one/memory.current", "2097152\n");
  Write("sys/fs/cgroup/pod/one/memory.stat", "active_file 4096\ninactive_file 524288\n");
  EXPECT_EQ(AvailableMemory(root_), 1536 << 10) << "a file's cache is given back";
  Write("sys/fs/cgroup/pod/memory.max", "8388608\n");
  Write("sys/fs/cgroup/pod/memory.current", "9388608\n");
  EXPECT_EQ(AvailableMemory(root_), 0);
  EXPECT_EQ(MemoryLimit(root_), 3 << 20) << "what is used does not count";
  EXPECT_GT(AvailableMemory(), 0);
}

TEST_F(MemoryLimitTest, WhatIsFreeInTheFirstVersionOfControlGroups) {
  Write("proc/meminfo", "MemAvailable:      4096 kB\n");
  Write("proc/self/cgroup", "4:memory:/docker/abc\n");
  Write("sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes", "2097152\n");
  Write("sys/fs/cgroup/memory/docker/abc/memory.usage_in_bytes", "1572864\n");
  Write("sys/fs/cgroup/memory/docker/abc/memory.stat", "inactive_file 1\ntotal_inactive_file 1024\n");
  EXPECT_EQ(AvailableMemory(root_), (512 << 10) + 1024);
}

}  // namespace
}  // namespace longhaul
