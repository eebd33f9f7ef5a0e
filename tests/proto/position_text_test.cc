#include "proto/position_text.h"

#include <gmock/gmock.h>
#include <google/protobuf/util/message_differencer.h>

#include <bit>
#include <cmath>
#include <limits>
#include <random>

#include "absl/strings/str_cat.h"

namespace longhaul {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;
using ::testing::AllOf;
using ::testing::HasSubstr;

v1::PositionMode Parsed(std::string_view text) {
  const absl::StatusOr<v1::PositionMode> mode = ParsePosition(text);
  EXPECT_TRUE(mode.ok()) << mode.status();
  return mode.value_or(v1::PositionMode());
}

std::string Refusal(std::string_view text) {
  const absl::StatusOr<v1::PositionMode> mode = ParsePosition(text);
  EXPECT_EQ(mode.status().code(), absl::StatusCode::kInvalidArgument) << text;
  return std::string(mode.status().message());
}

// The texts of a list's modes, joined by spaces; or what is wrong with it.
std::string Modes(std::string_view list) {
  const absl::StatusOr<std::vector<v1::PositionMode>> modes = ParsePositions(list);
  if (!modes.ok()) return std::string(modes.status().message());
  std::string texts;
  for (const v1::PositionMode& mode : *modes) absl::StrAppend(&texts, texts.empty() ? "" : " ", PositionText(mode));
  return texts;
}

TEST(PositionTextTest, ReadsEveryModeAndItsParameters) {
  EXPECT_TRUE(Parsed("auto").has_auto_());
  EXPECT_EQ(Parsed("auto:expected-tokens=20000").auto_().expected_tokens(), 20000u);
  EXPECT_TRUE(Parsed("none").has_none());
  EXPECT_EQ(Parsed("linear:factor=1.5").linear().factor(), 1.5);
  EXPECT_EQ(Parsed("ntk:factor=4,variant=radix").ntk().variant(), v1::NTK_VARIANT_RADIX);
  EXPECT_EQ(Parsed("ntk:variant=bloc97").ntk().variant(), v1::NTK_VARIANT_BLOC97);
  EXPECT_TRUE(Parsed("ntk-fixed").has_ntk_fixed());
  const v1::PositionMode preset = Parsed("beta-mixed:b=0.75,factor=12,log-n=0");
  EXPECT_EQ(preset.beta_mixed().b(), 0.75);
  EXPECT_EQ(preset.beta_mixed().factor(), 12);
  EXPECT_TRUE(preset.has_log_n());
  EXPECT_EQ(preset.log_n().trained_length(), 0u);
  EXPECT_FALSE(Parsed("beta-mixed").beta_mixed().has_b());
  EXPECT_EQ(Parsed("yarn:ramp=turns,alpha=2").yarn().ramp(), v1::YARN_RAMP_TURNS);
  EXPECT_EQ(Parsed("llama3:low-freq-factor=2").llama3().low_freq_factor(), 2);
  EXPECT_THAT(Parsed("per-pair:factors=1/2.5/1e3").per_pair().factors(), testing::ElementsAre(1, 2.5, 1000));
  EXPECT_EQ(Parsed("rerope:window=2048").rerope().window(), 2048u);
  EXPECT_TRUE(Parsed("rerope:window=0").rerope().has_window());
  EXPECT_EQ(Parsed("leaky-rerope:window=1024,step=16").leaky_rerope().step(), 16u);
  EXPECT_EQ(Parsed("self-extend:group=8").self_extend().group(), 8u);
  const v1::PositionMode common = Parsed("none:log-n=512,trained-length=300,allow-beyond-reach=true");
  EXPECT_EQ(common.log_n().trained_length(), 512u);
  EXPECT_EQ(common.trained_length(), 300u);
  EXPECT_TRUE(common.allow_beyond_reach());
}

TEST(PositionTextTest, WritesWhatIsSetAndNothingElse) {
  EXPECT_EQ(PositionText({}), "auto");
  EXPECT_EQ(PositionText(Parsed("rerope")), "rerope");
  EXPECT_EQ(PositionText(Parsed("yarn:log-n=0,ramp=turns,factor=4")), "yarn:factor=4,ramp=turns,log-n=0");
  EXPECT_EQ(PositionText(Parsed("per-pair:factors=1/0.1")), "per-pair:factors=1/0.1");
  v1::PositionMode newer;
  newer.mutable_yarn()->set_ramp(static_cast<v1::YarnRamp>(7));  // of a later version of the wire
  EXPECT_EQ(PositionText(newer), "yarn:ramp=7");
  EXPECT_EQ(Parsed("yarn:ramp=7").yarn().ramp(), 7);
}

TEST(PositionTextTest, ListsGiveAParameterToTheModeBeforeIt) {
  EXPECT_EQ(Modes("none"), "none");
  EXPECT_EQ(Modes("none,rerope:window=64,log-n=0,yarn"), "none rerope:window=64,log-n=0 yarn");
  EXPECT_EQ(Modes("rerope,window=64,leaky-rerope:step=4,window=8"), "rerope:window=64 leaky-rerope:window=8,step=4");
  EXPECT_THAT(Modes("window=64,none"), AllOf(HasSubstr("no mode stands before"), HasSubstr("'window=64'")));
  EXPECT_THAT(Modes("none,,yarn"), HasSubstr("'' is no position mode"));
  EXPECT_THAT(Modes(""), HasSubstr("'' is no position mode"));
}

TEST(PositionTextTest, RefusalsNameTheTextThePieceAndWhatIsAllowed) {
  EXPECT_THAT(Refusal("reropee:window=4"),
              AllOf(HasSubstr("'reropee:window=4'"), HasSubstr("'reropee' is no position mode"),
                    HasSubstr("auto, none, linear, ntk, ntk-fixed, beta-mixed, yarn, llama3, per-pair, rerope, "
                              "leaky-rerope, self-extend")));
  EXPECT_THAT(Refusal("rerope:step=4"), AllOf(HasSubstr("'step' is no parameter of rerope"),
                                              HasSubstr("window, log-n, trained-length, allow-beyond-reach")));
  EXPECT_THAT(Refusal("rerope:log-n"), HasSubstr("log-n has no value; write log-n=VALUE"));
  EXPECT_THAT(Refusal("rerope:window=4,window=5"), HasSubstr("window is given twice"));
  EXPECT_THAT(Refusal("rerope:window=-4"), AllOf(HasSubstr("window: '-4'"), HasSubstr("whole number, 0 to ")));
  EXPECT_THAT(Refusal("rerope:window=18446744073709551616"), HasSubstr("0 to 18446744073709551615"));
  EXPECT_THAT(Refusal("rerope:window=2k"), HasSubstr("window: '2k'"));
  EXPECT_THAT(Refusal("rerope:window="), HasSubstr("window: ''"));
  EXPECT_THAT(Refusal("linear:factor=4x"), HasSubstr("factor: '4x' is not allowed; it must be a number"));
  EXPECT_THAT(Refusal("linear:factor=1e999"), HasSubstr("factor: '1e999'"));
  EXPECT_THAT(Refusal("yarn:ramp=TURNS"), HasSubstr("ramp: 'TURNS' is not allowed; it must be index or turns"));
  EXPECT_THAT(Refusal("yarn:ramp=unspecified"), HasSubstr("index or turns"));
  EXPECT_THAT(Refusal("none:allow-beyond-reach=1"), HasSubstr("true or false"));
  EXPECT_THAT(Refusal("none:log-n=x"), HasSubstr("log-n: 'x'"));
  EXPECT_THAT(Refusal("per-pair:factors=1//2"), HasSubstr("factors: ''"));
  EXPECT_THAT(Refusal("none:"), HasSubstr("'' is no parameter of none"));
  EXPECT_THAT(Refusal("no\nne"), HasSubstr("'no\\nne'"));
}

// A random value for every field with some probability: any bits but NaN's (which no comparison equals) and -0 (which
// the wire leaves out).
class RandomMessage {
 public:
  explicit RandomMessage(uint64_t seed) : random_(seed) {}

  void Fill(Message& message) {
    const auto& type = *message.GetDescriptor();
    const Reflection& r = *message.GetReflection();
    for (int i = 0; i < type.field_count(); ++i) {
      const FieldDescriptor* const f = type.field(i);
      if (f->real_containing_oneof() != nullptr || random_() % 2 == 0) continue;
      SetField(message, r, f);
    }
  }

  v1::PositionMode Next() {
    v1::PositionMode mode;
    const auto& kinds = *mode.GetDescriptor()->oneof_decl(0);
    const FieldDescriptor* const kind =
        kinds.field(static_cast<int>(random_() % static_cast<unsigned>(kinds.field_count())));
    Fill(*mode.GetReflection()->MutableMessage(&mode, kind));
    Fill(mode);
    return mode;
  }

  double Double() {
    for (;;) {
      const double value =
          random_() % 2 == 0 ? static_cast<double>(random_() % 64) / 8 : std::bit_cast<double>(random_());
      if (!std::isnan(value) && !(value == 0 && std::signbit(value))) return value;
    }
  }

 private:
  void SetField(Message& message, const Reflection& r, const FieldDescriptor* f) {
    if (f->is_repeated()) {
      for (uint64_t n = random_() % 5; n > 0; --n) r.AddDouble(&message, f, Double());
      return;
    }
    switch (f->cpp_type()) {
      case FieldDescriptor::CPPTYPE_DOUBLE:
        return r.SetDouble(&message, f, Double());
      case FieldDescriptor::CPPTYPE_UINT64:
        return r.SetUInt64(&message, f, random_() >> (random_() % 64));
      case FieldDescriptor::CPPTYPE_BOOL:
        return r.SetBool(&message, f, true);
      case FieldDescriptor::CPPTYPE_ENUM:
        return r.SetEnumValue(&message, f, static_cast<int>(random_() % 4));
      case FieldDescriptor::CPPTYPE_MESSAGE:
        return Fill(*r.MutableMessage(&message, f));
      default:
        FAIL() << "the test knows no values for " << f->full_name();
    }
  }

  std::mt19937_64 random_;
};

TEST(PositionTextTest, RandomModesReadBackAsTheyWere) {
  RandomMessage random(5);
  std::string list;
  std::vector<v1::PositionMode> modes;
  for (int i = 0; i < 5000; ++i) {
    const v1::PositionMode mode = random.Next();
    const std::string text = PositionText(mode);
    ASSERT_TRUE(google::protobuf::util::MessageDifferencer::Equals(mode, Parsed(text))) << text << "\n"
                                                                                        << mode.ShortDebugString();
    absl::StrAppend(&list, i == 0 ? "" : ",", text);
    modes.push_back(mode);
  }
  const absl::StatusOr<std::vector<v1::PositionMode>> parsed = ParsePositions(list);
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  ASSERT_EQ(parsed->size(), modes.size());
  for (size_t i = 0; i < modes.size(); ++i) ASSERT_EQ(PositionText((*parsed)[i]), PositionText(modes[i]));
}

TEST(PositionTextTest, NumbersThatAreNoneReachTheServerWhichNamesThem) {
  EXPECT_TRUE(std::isnan(Parsed("linear:factor=nan").linear().factor()));
  EXPECT_EQ(Parsed("linear:factor=inf").linear().factor(), std::numeric_limits<double>::infinity());
}

}  // namespace
}  // namespace longhaul
