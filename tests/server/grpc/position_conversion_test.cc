#include "server/grpc/position_conversion.h"

#include <gmock/gmock.h>
#include <google/protobuf/util/message_differencer.h>

#include "proto/position_text.h"

namespace longhaul {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

// The mode's text after a journey over the wire's message, the engine's struct and back.
std::string There(std::string_view text) {
  const absl::StatusOr<v1::PositionMode> parsed = ParsePosition(text);
  EXPECT_TRUE(parsed.ok()) << parsed.status();
  const absl::StatusOr<PositionMode> mode = FromWire(*parsed);
  return mode.ok() ? PositionText(ToWire(*mode)) : std::string(mode.status().message());
}

TEST(PositionConversionTest, WhatIsGivenComesBack) {
  for (const char* text : {
           "auto:expected-tokens=20000",
           "none",
           "linear:factor=1.5",
           "ntk:factor=4,variant=radix",
           "ntk:factor=4,variant=bloc97",
           "ntk-fixed:factor=4",
           "beta-mixed:factor=12,b=0.75,log-n=0",
           "yarn:factor=4,alpha=2,beta=16,ramp=turns",
           "yarn:alpha=1,beta=32,ramp=index",
           "llama3:factor=8,low-freq-factor=2,high-freq-factor=5",
           "per-pair:factors=1/2.5/1000,query-scale=1.25",
           "rerope",
           "rerope:window=0",
           "rerope:window=2048,log-n=512,trained-length=4096,allow-beyond-reach=true",
           "leaky-rerope:window=1024,step=16",
           "self-extend:group=8,window=512",
           "rerope:window=9223372036854775807",
           "linear:factor=-3",
           "linear:factor=nan",
       }) {
    EXPECT_EQ(There(text), text);
  }
}

TEST(PositionConversionTest, WhatIsNotGivenComesBackAsItsDefault) {
  EXPECT_EQ(PositionText(ToWire(*FromWire(v1::PositionMode()))), "auto");
  EXPECT_EQ(There("ntk"), "ntk:variant=bloc97");
  EXPECT_EQ(There("beta-mixed"), "beta-mixed:b=0.625");
  EXPECT_EQ(There("beta-mixed:b=0"), "beta-mixed:b=0");
  EXPECT_EQ(There("yarn"), "yarn:alpha=1,beta=32,ramp=index");
  EXPECT_EQ(There("llama3"), "llama3:low-freq-factor=1,high-freq-factor=4");
  EXPECT_EQ(There("per-pair"), "per-pair:query-scale=1");
  EXPECT_EQ(There("leaky-rerope"), "leaky-rerope");
}

TEST(PositionConversionTest, WhatTheEngineCannotHoldIsRefusedByItsField) {
  EXPECT_THAT(There("ntk:variant=3"), AllOf(HasSubstr("position.ntk.variant: 3"), HasSubstr("RADIX")));
  EXPECT_THAT(There("yarn:ramp=-1"), AllOf(HasSubstr("position.yarn.ramp: -1"), HasSubstr("TURNS")));
  const std::string big = "9223372036854775808";
  for (const auto& [text, field] : {
           std::pair("auto:expected-tokens=", "position.auto.expected_tokens"),
           std::pair("rerope:window=", "position.rerope.window"),
           std::pair("leaky-rerope:window=", "position.leaky_rerope.window"),
           std::pair("leaky-rerope:step=", "position.leaky_rerope.step"),
           std::pair("self-extend:group=", "position.self_extend.group"),
           std::pair("self-extend:window=", "position.self_extend.window"),
           std::pair("none:log-n=", "position.log_n.trained_length"),
           std::pair("none:trained-length=", "position.trained_length"),
       }) {
    EXPECT_THAT(There(text + big), HasSubstr(field + (": " + big)));
  }
  EXPECT_EQ(FromWire(*ParsePosition("rerope:window=" + big)).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(PositionConversionTest, APlanCarriesAllItsNumbers) {
  ResolvedPosition resolved;
  resolved.mode.kind = position::LeakyRerope{64, 4};
  resolved.mode.trained_length = 512;
  resolved.plan.inv_freq = {1, 0.1};
  resolved.plan.far = FarRegime{.window = 64, .divisor = 4, .floor = true, .query_offset = 48};
  resolved.plan.query_scale = 1.5;
  resolved.plan.log_n = LogN{512};
  resolved.reach = 1856;
  resolved.past_recommended = resolved.refit = true;
  const v1::ResolvedPlan plan = ToWire(resolved);
  EXPECT_EQ(PositionText(plan.position()), "leaky-rerope:window=64,step=4,trained-length=512");
  EXPECT_THAT(plan.frequencies(), testing::ElementsAre(1, 0.1));
  EXPECT_EQ(plan.far().window(), 64u);
  EXPECT_EQ(plan.far().divisor(), 4u);
  EXPECT_TRUE(plan.far().floor());
  EXPECT_EQ(plan.far().query_offset(), 48);
  EXPECT_EQ(plan.query_scale(), 1.5);
  EXPECT_EQ(plan.log_n_trained_length(), 512);
  EXPECT_EQ(plan.reach(), 1856u);
  EXPECT_TRUE(plan.past_recommended() && plan.refit());
}

TEST(PositionConversionTest, APlanWithoutBoundOrFarRegimeSaysSo) {
  const v1::ResolvedPlan plan = ToWire(ResolvedPosition{.mode = {.kind = position::None()}, .plan = {}, .reach = {}});
  EXPECT_FALSE(plan.has_far());
  EXPECT_EQ(plan.reach(), 0u);
  EXPECT_EQ(plan.log_n_trained_length(), 0);
  EXPECT_EQ(plan.query_scale(), 1);
}

}  // namespace
}  // namespace longhaul
