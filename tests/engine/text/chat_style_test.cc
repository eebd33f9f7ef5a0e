// Styles of chat templates against what Jinja2 makes of them (tests/oracle/make_chat_goldens.py).

#include "engine/text/chat_style.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/base/strings.h"
#include "engine/text/jinja/jinja.h"
#include "tests/support/test_model.h"

namespace longhaul {
namespace {

using ::testing::HasSubstr;

std::string Text(const std::vector<Segment>& segments) {
  std::string text;
  for (const Segment& segment : segments) text += segment.text;
  return text;
}

Vocabulary With(std::string jinja, std::string bos = "<s>", std::string eos = "<|im_end|>") {
  Vocabulary vocabulary;
  vocabulary.tokens = {std::move(bos), std::move(eos)};
  vocabulary.bos = 0;
  vocabulary.eos = 1;
  vocabulary.chat_template = std::move(jinja);
  return vocabulary;
}

class ChatStyleTest : public ::testing::Test {
 protected:
  ChatStyleTest() {
    nlohmann::json goldens;
    std::ifstream(SourcePath("tests/oracle/goldens/chats.json")) >> goldens;
    for (const auto& chat : goldens["chats"]) chats_.push_back(chat);
    templates_ = goldens["templates"];
  }

  static Vocabulary VocabularyOf(const nlohmann::json& golden) {
    return With(golden["template"], golden["bos"], golden["eos"]);
  }

  std::vector<std::vector<std::pair<std::string, std::string>>> chats_;
  nlohmann::json templates_;
};

TEST_F(ChatStyleTest, WritesEveryConversationAsTheTemplateDoesOrRefusesIt) {
  int found = 0;
  for (const auto& golden : templates_) {
    if (!golden.contains("family")) continue;
    SCOPED_TRACE(golden["name"]);
    const absl::StatusOr<ChatStyle> style = FindChatStyle(VocabularyOf(golden));
    ASSERT_TRUE(style.ok()) << style.status();
    EXPECT_EQ(Name(style->family), golden["family"].get<std::string>());
    for (size_t i = 0; i < chats_.size(); ++i) {
      std::vector<ChatTurn> turns;
      for (const auto& [role, content] : chats_[i]) turns.push_back({role, content});
      const auto segments = RenderChat(*style, turns);
      const auto& expected = golden["texts"][i];
      EXPECT_TRUE(segments.ok() || style->alternates) << i << ": " << segments.status();
      EXPECT_FALSE(segments.ok() && expected.is_null()) << i << ": the template refuses it";
      if (!segments.ok() || expected.is_null()) continue;
      EXPECT_EQ(Text(*segments), expected.get<std::string>()) << i;
      if (!style->bos.empty()) {
        EXPECT_EQ(std::count_if(segments->begin(), segments->end(),
                                [&](const Segment& segment) { return segment.text == style->bos; }),
                  1);
        EXPECT_TRUE((*segments)[0].text == style->bos && (*segments)[0].parse_special);
      }
      ++found;
    }
  }
  EXPECT_GE(found, 500);
}

TEST_F(ChatStyleTest, RefusesATemplateThatNoFamilyWritesTheSame) {
  int refused = 0;
  for (const auto& golden : templates_) {
    if (!golden.contains("refusal")) continue;
    SCOPED_TRACE(golden["name"]);
    const absl::Status status = FindChatStyle(VocabularyOf(golden)).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_THAT(std::string(status.message()), HasSubstr(golden["refusal"].get<std::string>()));
    EXPECT_THAT(std::string(status.message()), HasSubstr("--chat-template chatml or llama3"));
    ++refused;
  }
  EXPECT_GE(refused, 12);
}

TEST_F(ChatStyleTest, JinjaRunsEveryTemplateAsJinja2DoesOrSaysThatItCannot) {
  int same = 0;
  for (const auto& golden : templates_) {
    SCOPED_TRACE(golden["name"]);
    const auto jinja = jinja::Parse(golden["template"].get<std::string>());
    ASSERT_TRUE(jinja.ok()) << jinja.status();
    for (size_t i = 0; i < chats_.size(); ++i) {
      jinja::List messages;
      for (const auto& [role, content] : chats_[i]) {
        messages.emplace_back(jinja::Map{{"role", role}, {"content", content}});
      }
      const auto text = jinja::Render(**jinja, {{"messages", std::move(messages)},
                                                {"add_generation_prompt", true},
                                                {"tools", jinja::None{}},
                                                {"bos_token", golden["bos"].get<std::string>()},
                                                {"eos_token", golden["eos"].get<std::string>()}});
      const auto& expected = golden["texts"][i];
      if (text.ok()) {
        ASSERT_FALSE(expected.is_null()) << i;
        EXPECT_EQ(*text, expected.get<std::string>()) << i;
        ++same;
      } else if (absl::IsFailedPrecondition(text.status())) {
        EXPECT_TRUE(expected.is_null()) << i << ": " << text.status();
      }
    }
  }
  EXPECT_GE(same, 900);
}

TEST(ChatStyle, HasTheBosOfTheTemplateWhateverTheVocabularyAdds) {
  const std::string turns =
      "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{% endfor %}"
      "{{ '<|im_start|>assistant\\n' }}";
  for (const bool add_bos : {false, true}) {
    Vocabulary vocabulary = With("{{bos_token}}" + turns);
    vocabulary.add_bos = add_bos;
    EXPECT_EQ(FindChatStyle(vocabulary)->bos, "<s>");
    vocabulary.chat_template = turns;
    EXPECT_EQ(FindChatStyle(vocabulary)->bos, "");
    // Chosen by hand, when nothing but the vocabulary says so.
    EXPECT_EQ(PlainChatStyle(ChatFamily::kChatMl, vocabulary).bos, add_bos ? "<s>" : "");
    EXPECT_EQ(PlainChatStyle(ChatFamily::kLlama3, vocabulary).bos, "<|begin_of_text|>");
  }
}

TEST(ChatStyle, AFileWithoutATemplateOrWithBytesThatAreNoTextHasNone) {
  EXPECT_THAT(std::string(FindChatStyle(With("")).status().message()), HasSubstr("has no chat template"));
  EXPECT_THAT(std::string(FindChatStyle(With("{{ '<|im_start|>system\n\xff' }}")).status().message()),
              HasSubstr("not UTF-8 at byte 23"));
}

TEST(Jinja, TakesWhiteSpaceAwayAsHuggingFaceDoes) {
  const auto render = [](std::string_view text) {
    return *jinja::Render(**jinja::Parse(text), {{"yes", true}, {"x", "v"}});
  };
  EXPECT_EQ(render("a\n  {% if yes %}\n  b\n  {% endif %}\nc\n"), "a\n  b\nc");
  EXPECT_EQ(render("a \n {%- if yes -%} \n b{% endif %} c"), "ab c");
  EXPECT_EQ(render("a {% if yes %} b {% endif %}\n\nc"), "a  b \nc");
  EXPECT_EQ(render(" {{ x }}\n {{- x -}} \n{# of no use #}\n  {#- #}!"), " vv!");
  EXPECT_EQ(render("{{ '%}' + \"}}\" }}"), "%}}}");
  EXPECT_EQ(render("{{ x }}\r\n\n"), "v\n");
}

TEST(Jinja, ComputesAsPythonDoes) {
  const auto render = [](std::string_view expression) {
    const auto text =
        jinja::Render(**jinja::Parse(absl::StrCat("{{ ", ToAbsl(expression), " }}")),
                      {{"l", jinja::List{"a", "b", "c"}}, {"m", jinja::Map{{"k", "v"}}}, {"n", jinja::None{}}});
    return text.ok() ? *text : std::string(text.status().message());
  };
  EXPECT_EQ(render("1 + 2 - 4 ~ '!' ~ 7 % 4"), "line 1: '-' of these values is not supported");
  EXPECT_EQ(render("(1 + 2 - 4) ~ '!' ~ 7 % 4"), "-1!3");
  EXPECT_EQ(render("not l and 1 or 'a' 'b'"), "ab");
  EXPECT_EQ(render("not 1 == 2 and not 'x' in l and 1 + 1 > 1"), "True");
  EXPECT_EQ(render("1 if n else 2 if m.z else 3"), "3");
  EXPECT_EQ(render("l[-1] + l[1:][0] + l[::-1][2] + l[:-2][0] + (l | first)"), "cbaaa");
  EXPECT_EQ(render("m.k ~ m['k'] ~ m.z ~ n"), "vvNone");
  EXPECT_EQ(render("m.z is defined or m.k is not defined or 'k' not in m"), "False");
  EXPECT_EQ(render("'yes' if l | length == 3 and 'b' in l else 'no'"), "yes");
  EXPECT_EQ(render("(' x ' | trim) ~ ' a '.strip() ~ 'ab'.startswith('a') ~ m.z | default('!')"), "xaTrue!");
  EXPECT_EQ(render("m.z.y"), "line 1: this subscript or member is not supported");
  EXPECT_EQ(render("l"), "line 1: writing a list or a map is not supported");
  EXPECT_EQ(render("9223372036854775807 + 1"), "line 1: '+' of these numbers is not supported");
}

TEST(Jinja, NoTemplateEndsTheProcessOrKeepsItBusy) {
  const auto outcome = [](const std::string& text) {
    const auto jinja = jinja::Parse(text);
    if (!jinja.ok()) return std::string(jinja.status().message());
    return std::string(jinja::Render(**jinja, {{"l", jinja::List(100, jinja::Value("x"))}}).status().message());
  };
  const auto repeated = [](const std::string& piece, size_t n) {
    std::string all;
    while (n-- > 0) all += piece;
    return all;
  };
  for (const char* open : {"(", "[", "not ", "1 if 1 else ", "a[", "a(", "{1:"}) {
    EXPECT_THAT(outcome("{{ " + repeated(open, 3000) + (*open == '{' ? repeated("}", 3000) : "") + " }}"),
                HasSubstr("nested too deep"))
        << open;
  }
  EXPECT_THAT(outcome("{{ " + repeated("a.", 5000) + "a }}"), HasSubstr("nested too deep"));
  EXPECT_THAT(outcome("{{ " + repeated("1 + ", 5000) + "1 }}"), HasSubstr("nested too deep"));
  EXPECT_THAT(outcome(repeated("{% if 1 %}", 3000)), HasSubstr("nested too deep"));
  EXPECT_THAT(outcome(repeated("{{ 1 }}", 10000)), HasSubstr("too long"));
  EXPECT_THAT(outcome("{{ " + std::string(40 << 20, '(')), HasSubstr("too long"));
  EXPECT_THAT(outcome(repeated("{% for a in l %}", 8) + repeated("{% endfor %}", 8)), HasSubstr("does too much"));
  EXPECT_THAT(outcome("{% set s = 'xxxxxxxx' %}" + repeated("{% set s = s + s %}", 60)), HasSubstr("does too much"));
  // Nothing holds itself, or others so deep that to free them overruns the stack.
  EXPECT_THAT(outcome("{% set s = [[]] %}"), HasSubstr("a list or a namespace in another"));
  EXPECT_THAT(outcome("{% set s = namespace() %}{% set s.x = s %}"), HasSubstr("a list or a namespace in another"));
  EXPECT_THAT(outcome("{% set s = [namespace()] %}"), HasSubstr("a list or a namespace in another"));
  EXPECT_THAT(outcome("{% set s = namespace(x=namespace()) %}"), HasSubstr("a list or a namespace in another"));
  EXPECT_THAT(outcome("{{ loop" + std::string(1 << 16, 'x') + " }}"), HasSubstr("a name that is too long"));
  // What costs more than its steps.
  const std::string twice = "{% set s = s + s %}", text = "{% set s = 'xxxxxxxx' %}" + repeated(twice, 11),
                    list = "{% set s = [1] %}" + repeated(twice, 10);
  const auto loop = [](const std::string& body) { return "{% for a in l %}" + body + "{% endfor %}"; };
  EXPECT_EQ(outcome(text + loop("{{ 1 }}")), "");
  EXPECT_EQ(outcome(list + loop("{{ 1 }}")), "");
  for (const std::string& costly :
       {"{% set s = 'xxxxxxxx' %}" + repeated(twice, 17) + "{% set l = [s] %}" + repeated("{% set l = l + l %}", 14) +
            "{{ l | length }}",
        "{% set s = [1] %}" + repeated(twice, 17) + repeated("{% set a = s[:] %}", 400),
        "{% set s = [1] %}" + repeated(twice, 17) + "{% for a in s %}{% if 2 in s %}x{% endif %}{% endfor %}",
        "{% set s = [1] %}" + repeated(twice, 13) + "{% for a in s %}{% endfor %}",
        "{% set s = 'aaaaaaaa' %}" + repeated(twice, 16) + "{% set t = s + s %}{{ s + 'b' in t }}"}) {
    EXPECT_THAT(outcome(costly), HasSubstr("does too much")) << costly.substr(0, 100);
  }
  for (const char* each : {"{% if s + 'y' == s + 'z' %}{% endif %}", "{% if s == t %}{% endif %}",
                           "{% if 'y' in s %}{% endif %}", "{% if s in t %}{% endif %}", "{{ s }}", "{{ s ~ 1 }}",
                           "{{ (s | trim) == '' }}", "{{ s.strip() == '' }}", "{{ s.startswith(t) }}"}) {
    EXPECT_THAT(outcome(text + "{% set t = s + '' %}" + loop(each)), HasSubstr("does too much")) << each;
  }
  for (const char* each : {"{% if 2 in s %}{% endif %}", "{% set t = s[:] %}", "{% set t = s[::-1] %}",
                           "{% set t = s + s %}", "{% for b in s %}{% endfor %}"}) {
    EXPECT_THAT(outcome(list + loop(each)), HasSubstr("does too much")) << each;
  }
  EXPECT_THAT(outcome("{% set l.x = 1 %}"), HasSubstr("setting 'x' is not supported"));
  for (const char* broken :
       {"{{",         "{%",          "{#",          "{{ 'a",           "{% if %}",       "{% endif %}",
        "{% if 1 %}", "{{ a b }}",   "{{ } }}",     "{% for %}",       "{% for a in %}", "{{ a | }}",
        "{{ a is }}", "{{ 1.5 }}",   "{{ '\\q' }}", "{{ \xff }}",      "{% set %}",      "{% x %}",
        "{{ a[ }}",   "{{ f(a=) }}", "{{ (1 }}",    "{{ 1 < 2 < 3 }}", "{{ -a }}",       "{% if 1 %}{% else %}"}) {
    EXPECT_THAT(outcome(broken), HasSubstr("line 1: ")) << broken;
  }
}

}  // namespace
}  // namespace longhaul
