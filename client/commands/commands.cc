#include "client/commands/commands.h"

#include <algorithm>
#include <cstdio>
#include <memory>

#include "client/client.h"
#include "client/commands/admin_commands.h"
#include "client/commands/ask_command.h"
#include "client/commands/chat_command.h"
#include "client/commands/command_flags.h"
#include "client/commands/context_flags.h"
#include "client/commands/evaluate_command.h"
#include "client/commands/generate_flags.h"
#include "client/commands/interruptible_client.h"
#include "client/commands/stream_answer.h"
#include "client/io/output.h"
#include "client/io/plan_output.h"
#include "engine/base/command_line/command_line.h"

namespace longhaul {
namespace {

int Generate(const CLI::App& command, const Common& common, const GenerateFlags& flags) {
  v1::GenerateRequest request;
  if (absl::Status status = FillRequest(command, flags, request); !status.ok()) return PrintError(status, common.json);
  auto prompt = ReadPrompt(flags.prompt);
  if (!prompt.ok()) return PrintError(prompt.status(), common.json);
  request.mutable_prompt()->set_text(*std::move(prompt));
  InterruptibleClient client(common.target);
  AnswersInOrder answers(request.samples());
  const absl::Status status = StreamAnswer(*client, request, common, flags.quiet, answers);
  return status.ok() ? 0 : PrintError(status, common.json);
}

struct WarmFlags {
  PromptFile prompt;
  ContextFlags contexts;
  std::string position;
  int32_t priority = 0;
};

int Warm(const Common& common, WarmFlags& flags) {
  v1::GenerateRequest request;
  request.mutable_stopping()->set_max_tokens(0);
  request.mutable_output()->set_progress(true);
  request.set_priority(flags.priority);
  if (absl::Status status = FillPosition(flags.position, request); !status.ok()) return PrintError(status, common.json);
  auto text = TakeQuestion(flags.contexts, /*only_files=*/!flags.prompt.path.empty());
  if (!text.ok()) return PrintError(text.status(), common.json);
  const bool has_contexts = !flags.contexts.documents.empty() || !flags.contexts.long_document.empty();
  if (!has_contexts && !flags.contexts.document_template.empty()) {
    return PrintError(absl::InvalidArgumentError("--document-template: there is no document"), common.json);
  }
  if (has_contexts) {
    if (absl::Status status = FillContexts(flags.contexts, request); !status.ok()) {
      return PrintError(status, common.json);
    }
    // Any question will do: it stands after the documents, so what is cached of them does not depend on it.
    if (!text->has_value() && flags.prompt.path.empty()) *text = "?";
  }
  auto prompt = ReadPrompt(*text, flags.prompt);
  if (!prompt.ok()) return PrintError(prompt.status(), common.json);
  request.mutable_prompt()->set_text(*std::move(prompt));
  InterruptibleClient client(common.target);
  ReadingLine progress(!common.json);
  v1::Finished finished;
  const absl::Status status = (*client).Generate(request, common.call(), [&](const v1::GenerateResponse& message) {
    if (common.json) PrintJson(message);
    if (message.has_progress()) progress.Show(message.progress());
    if (message.has_finished()) finished = message.finished();
    return std::ferror(stdout) == 0;
  });
  progress.Clear();
  if (!status.ok()) return PrintError(status, common.json);
  if (!common.json) PrintWarmed(finished);
  return 0;
}

int Tokenize(const Common& common, const PromptFlags& prompt_flags, bool parse_special) {
  auto prompt = ReadPrompt(prompt_flags);
  if (!prompt.ok()) return PrintError(prompt.status(), common.json);
  v1::TokenizeRequest request;
  request.mutable_prompt()->set_text(*std::move(prompt));
  request.set_parse_special(parse_special);
  request.set_pieces(true);
  const auto response = Client(common.target).Tokenize(request, common.call());
  if (!response.ok()) return PrintError(response.status(), common.json);
  if (common.json) {
    PrintJson(*response);
    return 0;
  }
  for (int i = 0; i < response->ids_size(); ++i) {
    std::printf("%d\t%s\n", response->ids(i), QuotePiece(response->pieces(i)).c_str());
  }
  std::fprintf(stderr, "[%d tokens]\n", response->ids_size());
  return 0;
}

int Detokenize(const Common& common, const std::vector<int32_t>& ids, bool special) {
  v1::DetokenizeRequest request;
  for (int32_t id : ids) request.mutable_token_ids()->add_ids(id);
  request.set_special(special);
  const auto response = Client(common.target).Detokenize(request, common.call());
  if (!response.ok()) return PrintError(response.status(), common.json);
  if (common.json) {
    PrintJson(*response);
  } else {
    PrintText(absl::StrCat(response->text(), "\n"));
  }
  return 0;
}

struct ScoreFlags {
  PromptFlags prompt;
  std::string position;
  uint64_t from_token = 0, last_tokens = 0;
  uint32_t top_logprobs = 0;
  int32_t priority = 0;
};

int Score(const Common& common, const ScoreFlags& flags) {
  auto prompt = ReadPrompt(flags.prompt);
  if (!prompt.ok()) return PrintError(prompt.status(), common.json);
  v1::ScoreRequest request;
  request.mutable_prompt()->set_text(*std::move(prompt));
  if (flags.from_token > 0) request.set_from_token(flags.from_token);
  if (flags.last_tokens > 0) request.set_last_tokens(flags.last_tokens);
  request.set_top_logprobs(flags.top_logprobs);
  request.set_priority(flags.priority);
  if (absl::Status status = FillPosition(flags.position, request); !status.ok()) return PrintError(status, common.json);
  InterruptibleClient client(common.target);
  double sum = 0;
  int64_t n = 0;
  v1::Started started;
  const absl::Status status = (*client).Score(request, common.call(), [&](const v1::ScoreResponse& message) {
    if (message.has_started()) started = message.started();
    if (common.json) PrintJson(message);
    for (int i = 0; i < message.scores().logprobs_size(); ++i) {
      const float logprob = message.scores().logprobs(i);
      sum += static_cast<double>(logprob);
      ++n;
      if (!common.json) {
        std::printf(
            "%llu\t%.6f\n",
            static_cast<unsigned long long>(message.scores().first_token()) + static_cast<unsigned long long>(i),
            static_cast<double>(logprob));
      }
    }
    return std::ferror(stdout) == 0;
  });
  if (!status.ok()) return PrintError(status, common.json);
  if (n > 0) {
    std::fprintf(stderr, "[%lld tokens, %.5f nat per token]\n", static_cast<long long>(n),
                 -sum / static_cast<double>(n));
    PrintPositions(started);
  }
  return 0;
}

struct InfoFlags {
  std::string position;
  uint64_t length = 0;
  bool dump = false;
};

int Info(const Common& common, const InfoFlags& flags) {
  v1::GetModelRequest request;
  request.set_length(flags.length);
  if (absl::Status status = FillPosition(flags.position, request); !status.ok()) return PrintError(status, common.json);
  Client client(common.target);
  const auto model = client.Model(common.call(), request);
  if (!model.ok()) return PrintError(model.status(), common.json);
  if (common.json) {
    PrintJson(*model);
    return 0;
  }
  if (!model->has_plan()) {
    PrintModel(*model);
    return 0;
  }
  PrintPlan(model->plan());
  if (!flags.dump) return 0;
  request.mutable_position()->mutable_none();
  const auto plain = client.Model(common.call(), request);
  if (!plain.ok()) return PrintError(plain.status(), common.json);
  PrintFrequencies(model->plan(), plain->plan());
  return 0;
}

}  // namespace

void AddCommands(CLI::App& app, int& exit_code) {
  const auto add = [&](const char* name, const char* help) {
    const auto common = std::make_shared<Common>();
    CLI::App* const command = app.add_subcommand(name, help);
    AddConnection(*command, *common);
    AddRequestId(*command, *common);
    return std::pair(command, common);
  };

  {
    const auto [command, common] = add("generate",
                                       "Continue a text.\n"
                                       "  longhaul generate \"The capital of France is\" --max-tokens 8\n"
                                       "  longhaul generate --prompt-file notes.txt --temperature 0.8 --seed 7\n"
                                       "  longhaul generate --position rerope:window=2048 --prompt-file book.txt "
                                       "\"Summarise the third chapter.\"\n"
                                       "  cat notes.txt | longhaul generate --json --top-logprobs 3");
    const auto flags = std::make_shared<GenerateFlags>();
    AddPrompt(*command, flags->prompt);
    AddGenerateFlags(*command, *flags);
    command->callback([=, c = command, s = common, &exit_code] { exit_code = Generate(*c, *s, *flags); });
  }
  {
    const auto [command, common] =
        add("warm",
            "Read a text into the server's cache, so that a prompt that begins with it is answered sooner.\n"
            "  longhaul warm --prompt-file handbook.txt\n"
            "  longhaul warm --documents notes/*.txt    (for `longhaul ask` over them, in any order and company)\n"
            "A word that is no file is a text.\n"
            "With a position mode that is fitted to the length, give the same factor, step or group as later.");
    const auto flags = std::make_shared<WarmFlags>();
    AddContexts(*command, flags->contexts);
    AddPromptFile(*command, flags->prompt);
    AddPosition(*command, flags->position);
    AddPriority(*command, flags->priority);
    command->callback([=, s = common, &exit_code] { exit_code = Warm(*s, *flags); });
  }
  {
    const auto [command, common] =
        add("tokenize", "The token ids of a text.\n  longhaul tokenize \"How many are these?\"");
    const auto flags = std::make_shared<PromptFlags>();
    const auto parse_special = std::make_shared<bool>(false);
    AddPrompt(*command, *flags);
    command->add_flag("--parse-special", *parse_special, "names of special tokens become those tokens");
    command->callback([=, s = common, &exit_code] { exit_code = Tokenize(*s, *flags, *parse_special); });
  }
  {
    const auto [command, common] = add("detokenize", "The text of token ids.\n  longhaul detokenize 504 3575 282");
    const auto ids = std::make_shared<std::vector<int32_t>>();
    const auto special = std::make_shared<bool>(false);
    command->add_option("ids", *ids, "token ids")->required();
    command->add_flag("--special", *special, "write special tokens out");
    command->callback([=, s = common, &exit_code] { exit_code = Detokenize(*s, *ids, *special); });
  }
  {
    const auto [command, common] = add("score",
                                       "The log-probability of every token of a text, and their mean.\n"
                                       "  longhaul score \"The capital of France is Paris.\"\n"
                                       "  longhaul score --prompt-file book.txt --last-tokens 512\n"
                                       "  longhaul score --prompt-file book.txt --position leaky-rerope:window=1024,"
                                       "step=16");
    const auto flags = std::make_shared<ScoreFlags>();
    AddPrompt(*command, flags->prompt);
    AddPosition(*command, flags->position);
    AddPriority(*command, flags->priority);
    command->add_option("--from-token", flags->from_token, "score from this token on");
    command->add_option("--last-tokens", flags->last_tokens, "score the last so many tokens")->excludes("--from-token");
    command->add_option("--top-logprobs", flags->top_logprobs, "also of so many likely tokens (with --json)");
    command->callback([=, s = common, &exit_code] { exit_code = Score(*s, *flags); });
  }
  {
    const auto [command, common] =
        add("info",
            "What the server has loaded, and how it runs; or what a position mode comes to.\n"
            "  longhaul info --json\n"
            "  longhaul info --position yarn:factor=4 --dump\n"
            "  longhaul info --position leaky-rerope --length 30000");
    const auto flags = std::make_shared<InfoFlags>();
    AddPosition(*command, flags->position);
    command->add_option("--length", flags->length, "tokens that the mode is fitted to; 0: the trained length")
        ->needs("--position");
    command
        ->add_flag("--dump", flags->dump,
                   "also a line per rotary pair: index, radians per position, and that as a "
                   "share of the model's own")
        ->needs("--position");
    command->callback([=, s = common, &exit_code] { exit_code = Info(*s, *flags); });
  }
  AddAskCommand(app, exit_code);
  AddChatCommand(app, exit_code);
  AddAdminCommands(app, exit_code);
  AddEvaluateCommand(app, exit_code);
}

}  // namespace longhaul
