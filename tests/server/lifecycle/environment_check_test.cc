#include "server/lifecycle/environment_check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace longhaul {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

const std::vector<std::string> kFlags = {"LONGHAUL_MODEL",     "LONGHAUL_MAX_QUEUE", "LONGHAUL_MAX_ROWS",
                                         "LONGHAUL_PORT_FILE", "LONGHAUL_LISTEN",    "LONGHAUL_THREADS"};

std::vector<std::string> Check(const std::vector<std::string>& environment) {
  return CheckEnvironment(environment, kFlags);
}

TEST(EnvironmentCheck, NamesTheFlagThatWasMeant) {
  EXPECT_THAT(Check({"HOME=/", "LONGHAUL_MAX_QUEU=5", "LONGHAUL_MAXQUEUE=5", "LONGHAUL_MAX_QUUEUES=5"}),
              ElementsAre(AllOf(HasSubstr("LONGHAUL_MAX_QUEU,"), HasSubstr("LONGHAUL_MAX_QUEUE is one")),
                          AllOf(HasSubstr("LONGHAUL_MAXQUEUE,"), HasSubstr("LONGHAUL_MAX_QUEUE is one")),
                          AllOf(HasSubstr("LONGHAUL_MAX_QUUEUES,"), HasSubstr("LONGHAUL_MAX_QUEUE is one"))));
  EXPECT_THAT(Check({"LONGHAUL_MAX_ROW"}), ElementsAre(HasSubstr("LONGHAUL_MAX_ROWS is one")));
  EXPECT_THAT(Check({"LONGHAUL_MODEL\n\x1b[1m=x", "LONGHAUL_MODEL\t"}),
              ElementsAre(AllOf(HasSubstr("LONGHAUL_MODEL\\t,"), HasSubstr("LONGHAUL_MODEL is one"))));
}

TEST(EnvironmentCheck, SaysNothingOfFlagsAndOfWhatOthersPutThere) {
  EXPECT_THAT(Check(kFlags), IsEmpty());
  EXPECT_THAT(
      Check({"LONGHAUL_SERVICE_HOST=10.0.0.7", "LONGHAUL_SERVICE_PORT=50051", "LONGHAUL_PORT=tcp://10.0.0.7:50051",
             "LONGHAUL_PORT_50051_TCP=tcp://10.0.0.7:50051", "LONGHAUL_PORT_50051_TCP_ADDR=10.0.0.7",
             "LONGHAUL_SERVICE_PORT_GRPC=50051", "LONGHAUL_TARGET=h", "LONGHAUL_CACHE=/c", "LONGHAUL_BUILD=b",
             "LONGHAUL_=", "LONGHAUL_MAX_QUEXYZ=1", "MAX_QUEUE=1", "longhaul_model=x", "=", ""}),
      IsEmpty());
  EXPECT_THAT(Check({"LONGHAUL_" + std::string(1 << 20, 'X')}), IsEmpty());
}

}  // namespace
}  // namespace longhaul
