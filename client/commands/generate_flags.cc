#include "client/commands/generate_flags.h"

#include <algorithm>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "client/io/text_input.h"
#include "engine/base/command_line/command_line.h"
#include "engine/base/decimal.h"
#include "engine/base/quoted.h"
#include "engine/base/status_macros.h"

namespace longhaul {
namespace {

// What the escapes \n, \t, \r and \\ stand for; other backslashes stay.
std::string Unescaped(const std::string& text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    constexpr std::string_view kEscapes = "ntr\\", kCharacters = "\n\t\r\\";
    const size_t found = text[i] == '\\' && i + 1 < text.size() ? kEscapes.find(text[i + 1]) : std::string_view::npos;
    out += found == std::string_view::npos ? text[i] : kCharacters[found];
    i += found == std::string_view::npos ? 0 : 1;
  }
  return out;
}

}  // namespace

void AddSystem(CLI::App& command, std::string& system) {
  command.add_option("--system", system, "the system message")->type_name(kMayBeEmpty);
}

void AddGenerateFlags(CLI::App& command, GenerateFlags& f) {
  AddPosition(command, f.position);
  AddPriority(command, f.priority);
  command.add_option("--max-tokens", f.max_tokens, "tokens of the answer at most; 0 reads the prompt only");
  command.add_option("--min-tokens", f.min_tokens, "no end before so many tokens");
  command
      .add_option(
          "--stop", f.stop,
          "end the answer before this text, in which \\n, \\t, \\r and \\\\ are escapes (may be given several times)")
      ->allow_extra_args(false);
  command
      .add_option("--stop-token-id", f.stop_token_ids, "end the answer before this token (may be given several times)")
      ->allow_extra_args(false);
  command.add_flag("--ignore-eos", f.ignore_eos, "never end at the model's end of sequence");
  command.add_option("--temperature", f.temperature, "0: the most probable token, always");
  command.add_option("--top-k", f.top_k, "keep the k most probable tokens; 0: all");
  command.add_option("--top-p", f.top_p, "keep the most probable tokens that sum to p");
  command.add_option("--min-p", f.min_p, "keep tokens at least so probable, as a share of the most probable one");
  command.add_option("--repetition-penalty", f.repetition_penalty, "above 1: against repeating prompt and answer");
  command.add_option("--presence-penalty", f.presence_penalty, "against tokens that the answer holds");
  command.add_option("--frequency-penalty", f.frequency_penalty, "against tokens that the answer holds often");
  command.add_option("--logit-bias", f.logit_bias, "ID=BIAS, added to a token's logit (may be given several times)")
      ->allow_extra_args(false);
  command.add_option("--seed", f.seed, "the same seed gives the same text");
  command.add_option("--samples", f.samples, "answers, each drawn for itself")->check(CLI::Range(1, 1 << 20));
  command.add_option("--first-sample", f.first_sample, "the number of the first: seed and number decide what is drawn");
  command.add_option("--top-logprobs", f.top_logprobs,
                     "log-probabilities, also of so many likely tokens (with --json)");
  command.add_flag("--token-ids", f.token_ids, "token ids (with --json)");
  command.add_flag("--quiet", f.quiet, "no summary on standard error");
}

absl::Status FillRequest(const CLI::App& command, const GenerateFlags& f, v1::GenerateRequest& request) {
  request.set_priority(f.priority);
  request.set_samples(f.samples);
  request.set_first_sample(f.first_sample);
  const auto given = [&](const char* flag) { return command.count(flag) > 0; };
  v1::Sampling& sampling = *request.mutable_sampling();
  sampling.set_temperature(f.temperature);
  sampling.set_top_k(f.top_k);
  if (given("--top-p")) sampling.set_top_p(f.top_p);
  sampling.set_min_p(f.min_p);
  if (given("--repetition-penalty")) sampling.set_repetition_penalty(f.repetition_penalty);
  sampling.set_presence_penalty(f.presence_penalty);
  sampling.set_frequency_penalty(f.frequency_penalty);
  if (given("--seed")) sampling.set_seed(f.seed);
  for (const std::string& entry : f.logit_bias) {
    const size_t equals = std::min(entry.find('='), entry.size());
    int32_t id = 0;
    double bias = 0;
    if (equals == entry.size() || !absl::SimpleAtoi(entry.substr(0, equals), &id) ||
        !ParseDecimal(entry.substr(equals + 1), bias)) {
      return absl::InvalidArgumentError(absl::StrCat("--logit-bias: '", entry, "' is not ID=BIAS"));
    }
    (*sampling.mutable_logit_bias())[id] = static_cast<float>(bias);
  }
  v1::Stopping& stopping = *request.mutable_stopping();
  if (given("--max-tokens")) stopping.set_max_tokens(f.max_tokens);
  stopping.set_min_tokens(f.min_tokens);
  for (const std::string& stop : f.stop) {
    LH_RETURN_IF_ERROR(CheckText(absl::StrCat("--stop ", Quoted(stop)), stop));
    stopping.add_stop(Unescaped(stop));
  }
  for (int32_t id : f.stop_token_ids) stopping.add_stop_token_ids(id);
  stopping.set_ignore_eos(f.ignore_eos);
  v1::Output& output = *request.mutable_output();
  if (given("--top-logprobs")) output.set_top_logprobs(f.top_logprobs);
  output.set_token_ids(f.token_ids);
  output.set_progress(true);
  return FillPosition(f.position, request);
}

}  // namespace longhaul
