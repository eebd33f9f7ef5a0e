#include "engine/base/command_line/command_line.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "engine/base/decimal.h"
#include "engine/base/edit_distance.h"
#include "engine/base/printable.h"
#include "engine/base/quoted.h"

namespace longhaul {
namespace {

// Checks a whole number and removes leading zeros, which CLI11 would take for a sign of base 8. Returns an error or "".
std::string CheckWhole(bool has_sign, std::string& text) {
  const bool negative = has_sign && text.starts_with('-');
  std::string digits = text.substr(negative || (has_sign && text.starts_with('+')) ? 1 : 0);
  if (digits.empty() || digits.find_first_not_of("0123456789") != std::string::npos) {
    return absl::StrCat(Quoted(text), " is not a whole number", has_sign ? "" : ", 0 or more");
  }
  digits.erase(0, std::min(digits.find_first_not_of('0'), digits.size() - 1));
  text = (negative ? "-" : "") + digits;
  int64_t as_signed = 0;
  uint64_t as_unsigned = 0;
  const bool fits = has_sign ? absl::SimpleAtoi(text, &as_signed) : absl::SimpleAtoi(text, &as_unsigned);
  return fits ? "" : text + " is too large";
}

std::string CheckNumber(const std::string& text) {
  double value = 0;
  return ParseDecimal(text, value) && !std::isnan(value) ? "" : Quoted(text) + " is not a number";
}

// Of a number with a unit; the option's own transform reads the rest.
std::string CheckNotHexadecimal(const std::string& text) {
  return text.find_first_of("xX") == std::string::npos ? "" : Quoted(text) + " is not a decimal number";
}

std::string CheckNotEmpty(const std::string& text) {
  return text.empty() ? "it is given and empty" : "";
}

// CLI11 takes a word like "[a, b]" for a list where an option has several values. This byte, which no word of a command
// line holds, is appended so that the word does not end with the bracket.
constexpr char kNoList = '\0';

std::string WithoutMark(std::string word) {
  if (!word.empty() && word.back() == kNoList) word.pop_back();
  return word;
}

// Adds the checks of values to all options.
void AddChecks(CLI::App& app) {
  for (CLI::Option* const option : app.get_options()) {
    const std::string type = option->get_type_name();
    const auto is = [&](const char* unit) { return type.find(unit) != std::string::npos; };
    // Each is put before the option's own checks, so the last one here is the first to run.
    if (type.starts_with("TEXT")) {
      option->transform(CLI::Validator([](std::string& text) { return CheckNotEmpty(text); }, ""));
    } else if (is("SIZE")) {
      // Bytes reads it whole.
    } else if (is("TIME")) {
      option->transform(CLI::Validator([](std::string& text) { return CheckNotHexadecimal(text); }, ""));
    } else if (type.starts_with("INT")) {
      option->transform(CLI::Validator([](std::string& text) { return CheckWhole(/*has_sign=*/true, text); }, ""));
    } else if (type.starts_with("UINT")) {
      option->transform(CLI::Validator([](std::string& text) { return CheckWhole(/*has_sign=*/false, text); }, ""));
    } else if (type.starts_with("FLOAT")) {
      option->transform(CLI::Validator([](std::string& text) { return CheckNumber(text); }, ""));
    }
    if (option->get_expected_max() > 0) option->transform([](const std::string& text) { return WithoutMark(text); });
  }
  for (CLI::App* const command : app.get_subcommands([](CLI::App*) { return true; })) AddChecks(*command);
}

// CLI11 takes the next word for the value of `--name=`. Reversed, as it wants them.
std::vector<std::string> Words(int argc, char** argv) {
  std::vector<std::string> words;
  bool flags_end = false;
  for (int i = 1; i < argc; ++i) {
    std::string word = argv[i];
    flags_end = flags_end || word == "--";
    if (!flags_end && word.starts_with("--") && word.find('=') == word.size() - 1) {
      words.push_back(word.substr(0, word.size() - 1));
      words.emplace_back();
    } else {
      if (word.starts_with('[') && word.ends_with(']')) word += kNoList;
      words.push_back(std::move(word));
    }
  }
  std::reverse(words.begin(), words.end());
  return words;
}

std::vector<std::string> FlagsOf(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  }
  return names;
}

std::vector<std::string> CommandsOf(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; })) {
    names.push_back(command->get_name());
  }
  return names;
}

std::string DidYouMean(const std::string& nearest) {
  return nearest.empty() ? "" : "; did you mean " + nearest + "?";
}

// What is wrong with a word that neither `app` nor its subcommand knows; `is_flag`: it stands where flags do.
std::string UnknownWord(const CLI::App& app, const std::string& word, bool is_flag) {
  const std::vector<CLI::App*> chosen = app.get_subcommands();
  const std::vector<std::string> commands = CommandsOf(app);
  if (!is_flag) {
    if (chosen.empty() && !commands.empty()) {
      const std::string nearest = Nearest(word, commands);
      return absl::StrCat(
          Quoted(word), " is no command",
          nearest.empty() ? absl::StrCat("; they are ", absl::StrJoin(commands, ", ")) : DidYouMean(nearest));
    }
    return absl::StrCat(Quoted(word), " is one word too many; a text with spaces needs quotes around it");
  }
  const std::string flag = word.substr(0, word.find('='));
  const std::vector<std::string> flags = FlagsOf(chosen.empty() ? app : *chosen.front());
  const auto knows = [&](const CLI::App& one) { return one.get_option_no_throw(flag) != nullptr; };
  if (!chosen.empty() && knows(*chosen.front())) {
    return absl::StrCat(Quoted(flag), " is a flag of ", chosen.front()->get_name(), ": write it after that word");
  }
  if (!chosen.empty() && knows(app)) {
    return absl::StrCat(Quoted(flag), " is no flag of ", chosen.front()->get_name(), ": write it before that word");
  }
  const std::string nearest = Nearest(flag, flags);
  return absl::StrCat(Quoted(flag), " is no flag", chosen.empty() ? "" : " of " + chosen.front()->get_name(),
                      nearest.empty() ? "; a text that begins with - comes after --" : DidYouMean(nearest));
}

// The words that nothing took, in their order; a misspelt word is also the reason why something else is missing.
std::string Message(const CLI::App& app, const CLI::ParseError& error) {
  const auto code = static_cast<CLI::ExitCodes>(error.get_exit_code());
  if (code == CLI::ExitCodes::ExtrasError || code == CLI::ExitCodes::RequiredError) {
    std::vector<std::string> unknown = app.remaining(/*recurse=*/true);
    // What comes after -- is no flag, whatever it looks like.
    const auto flags_end = std::find(unknown.begin(), unknown.end(), "--");
    const auto first = std::find_if(unknown.begin(), flags_end, [](const auto& w) { return w.starts_with('-'); });
    const auto flag = first == flags_end ? unknown.end() : first;
    for (std::string& word : unknown) word = WithoutMark(word);
    const bool no_command = app.get_subcommands().empty() && !CommandsOf(app).empty();
    if (flag != unknown.end() && !(no_command && flag != unknown.begin()))
      return UnknownWord(app, *flag, /*is_flag=*/true);
    const auto word = std::find_if(unknown.begin(), unknown.end(), [](const auto& w) { return w != "--"; });
    if (word != unknown.end()) return UnknownWord(app, *word, /*is_flag=*/false);
    if (no_command) return absl::StrCat("a command is missing: ", absl::StrJoin(CommandsOf(app), ", "));
  }
  constexpr std::string_view kNotParsed = "INI was not able to parse ";
  const std::string what = error.what();
  if (code == CLI::ExitCodes::ConfigError && what.starts_with(kNotParsed)) {
    const std::string line = what.substr(kNotParsed.size());
    return absl::StrCat("--config ", app.get_config_ptr()->as<std::string>(), ": ", Quoted(line), " is no flag",
                        DidYouMean(Nearest("--" + line, FlagsOf(app))));
  }
  if (code == CLI::ExitCodes::ConversionError) return absl::StrCat(what, ", which is too large");
  return what;
}

}  // namespace

CLI::Validator Bytes(int64_t least, int64_t most, const char* allowed) {
  return CLI::Validator(
      [=](std::string& text) -> std::string {
        constexpr std::string_view kUnits = "KMGT";
        const size_t end = std::min(text.find_first_not_of("0123456789."), text.size());
        std::string unit = text.substr(end);
        for (char& c : unit) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
        double factor = 1;
        if (!unit.empty() && kUnits.find(unit[0]) != std::string_view::npos) {
          factor = std::exp2(10 * static_cast<double>(kUnits.find(unit[0]) + 1));
          unit.erase(0, unit.size() > 1 && unit[1] == 'I' ? 2 : 1);
        }
        double number = 0;
        if ((!unit.empty() && unit != "B") || !absl::SimpleAtod(text.substr(0, end), &number)) {
          return Quoted(text) + " is no size; it is a number with B, KiB, MiB, GiB or TiB, as in 2.5GiB";
        }
        const double bytes = std::floor(number * factor);
        if (bytes < static_cast<double>(least) || bytes > static_cast<double>(most)) {
          return absl::StrCat(text, " is not allowed; it must be ", allowed);
        }
        text = absl::StrFormat("%.0f", bytes);
        return "";
      },
      "SIZE");
}

std::optional<int> ParseCommandLine(CLI::App& app, int argc, char** argv) {
  const char* const slash = std::strrchr(argv[0], '/');
  app.name(slash != nullptr ? slash + 1 : argv[0]);
  app.set_version_flag("--version", LONGHAUL_VERSION);
  AddChecks(app);
  try {
    app.parse(Words(argc, argv));
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) {
      std::ostringstream text;
      app.exit(error, text, text);
      std::fputs(text.str().c_str(), stdout);
      return 0;
    }
    std::fprintf(stderr, "%s: %s\nRun with --help for more information.\n", app.get_name().c_str(),
                 PrintableText(Message(app, error)).c_str());
    return 2;
  }
  return std::nullopt;
}

std::vector<std::string> OwnCommandLine() {
  std::ifstream file("/proc/self/cmdline", std::ios::binary);
  std::vector<std::string> words;
  for (std::string word; std::getline(file, word, '\0');) words.push_back(word);
  return words;
}

}  // namespace longhaul
