#include "engine/base/field_error.h"

#include <gtest/gtest.h>

#include <string>

#include "engine/base/overload.h"

namespace longhaul {
namespace {

TEST(FieldError, ProgramsReadTheFieldAndPeopleTheMessage) {
  const absl::Status status = FieldError("stopping.stop[2]", "it is: too long");
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(std::string(status.message()), "stopping.stop[2]: it is: too long");
  EXPECT_EQ(FieldOf(status), "stopping.stop[2]");
  EXPECT_EQ(std::string(NotAllowed("priority", 101, "-100 to 100").message()),
            "priority: 101 is not allowed; it must be -100 to 100");
  EXPECT_EQ(FieldOf(NotAllowed("priority", 101, "-100 to 100")), "priority");
}

TEST(FieldError, AMessageAloneNamesNoField) {
  EXPECT_EQ(FieldOf(absl::OkStatus()), std::nullopt);
  EXPECT_EQ(FieldOf(absl::InvalidArgumentError("prompt.text: it is empty")), std::nullopt);
}

TEST(FieldError, AFieldStandsInFrontOfWhatIsWrongWithIt) {
  const absl::Status status = AtField("prompt.text", absl::InvalidArgumentError("it is not UTF-8"));
  EXPECT_EQ(std::string(status.message()), "prompt.text: it is not UTF-8");
  EXPECT_EQ(FieldOf(status), "prompt.text");
  EXPECT_TRUE(AtField("prompt.text", absl::OkStatus()).ok());
}

TEST(FieldError, AMemberIsNamedByItsWholePath) {
  const absl::Status status = AtField("prompt.chat", FieldError("messages[1].role", "'x'"));
  EXPECT_EQ(std::string(status.message()), "prompt.chat.messages[1].role: 'x'");
  EXPECT_EQ(FieldOf(status), "prompt.chat.messages[1].role");
}

TEST(FieldError, WhatIsNoFaultOfTheFieldStaysWhatItIs) {
  const absl::Status status = AtField("prompt.text", OverloadError("full", {"QUEUE_FULL", "--max-queue", "4", 2.5}));
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(std::string(status.message()).find("prompt.text: full"), 0u);
  EXPECT_EQ(FieldOf(status), std::nullopt);
  ASSERT_TRUE(OverloadOf(status).has_value());
  EXPECT_EQ(OverloadOf(status)->retry_after, 2.5);
}

}  // namespace
}  // namespace longhaul
