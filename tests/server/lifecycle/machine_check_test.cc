#include "server/lifecycle/machine_check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace longhaul {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr int64_t kGiB = int64_t{1} << 30;
constexpr Machine kMachine = {.memory = 16 * kGiB, .available = 10 * kGiB, .cores = 4};

TEST(MachineCheck, SaysNothingOfWhatFits) {
  EXPECT_THAT(*CheckMachine({2 * kGiB, 8 * kGiB, kGiB, 4}, kMachine), IsEmpty());
  EXPECT_THAT(*CheckMachine({}, kMachine), IsEmpty());
}

TEST(MachineCheck, RefusesACacheThatIsLargerThanTheMemory) {
  const absl::Status status = CheckMachine({.cache_bytes = 1024 * kGiB}, kMachine).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("--kv-cache-memory"), HasSubstr("1024.00 GiB"), HasSubstr("16.00 GiB")));
  EXPECT_FALSE(CheckMachine({.cache_bytes = 16 * kGiB + 1}, kMachine).ok());
  EXPECT_TRUE(CheckMachine({.cache_bytes = 16 * kGiB}, kMachine).ok());
}

TEST(MachineCheck, RefusesAnAddressSpaceInWhichNothingFits) {
  Machine machine = kMachine;
  machine.address_space = kGiB;
  EXPECT_TRUE(CheckMachine({.cache_bytes = kGiB / 2}, machine).ok());
  EXPECT_THAT(std::string(CheckMachine({.cache_bytes = kGiB}, machine).status().message()),
              AllOf(HasSubstr("ulimit -v"), HasSubstr("1.00 GiB"), HasSubstr("--kv-cache-memory")));
  machine.stack = 64 << 20;
  EXPECT_FALSE(CheckMachine({.cache_bytes = 1 << 20}, machine).ok());
  machine.address_space.reset();
  EXPECT_TRUE(CheckMachine({.cache_bytes = kGiB}, machine).ok());
}

TEST(MachineCheck, WarnsOfWhatIsNotFreeOrDoesNotFitTogether) {
  EXPECT_THAT(*CheckMachine({.model_bytes = kGiB, .cache_bytes = 9 * kGiB + 1}, kMachine),
              ElementsAre(AllOf(HasSubstr("10.00 GiB of memory that are free now, of 16.00 GiB"), HasSubstr("9.00 GiB"),
                                HasSubstr("1.00 GiB"))));
  EXPECT_THAT(*CheckMachine({.model_bytes = 9 * kGiB, .cache_bytes = 8 * kGiB}, kMachine),
              ElementsAre(HasSubstr("more than the 16.00 GiB of memory of this machine")));
  EXPECT_THAT(*CheckMachine({.model_bytes = 600 << 20, .message_bytes = 16 * kGiB}, kMachine),
              ElementsAre(AllOf(HasSubstr("--max-message-size"), HasSubstr("600.0 MiB"))));
}

TEST(MachineCheck, WarnsOfMoreThreadsThanCores) {
  EXPECT_THAT(*CheckMachine({.threads = 1024}, kMachine),
              ElementsAre(AllOf(HasSubstr("--threads: 1024"), HasSubstr("4 cores"))));
}

TEST(MachineCheck, ThisMachineHasSomething) {
  const Machine machine = ThisMachine();
  EXPECT_GT(machine.memory, 64 << 20);
  EXPECT_GT(machine.available, 0);
  EXPECT_GE(machine.cores, 1);
}

}  // namespace
}  // namespace longhaul
