#include "client/loadgen/bench_flags.h"
#include "engine/base/command_line/command_line.h"
#include "engine/base/command_line/run_program.h"

namespace {

int Main(int argc, char** argv) {
  CLI::App app{
      "Loads a longhaul server and measures what its users would see.\n"
      "  longhaul-bench --rate 8 --duration 60s --prompts lengths:lognormal:mean=800 --output-tokens 64 --json "
      "out.json\n"
      "  longhaul-bench --concurrency 16 --prompts 512 --output-tokens 64\n"
      "  longhaul-bench --rate 8 --slo ttft_p99=500ms,itl_p99=80ms,error_rate=1%\n"
      "  longhaul-bench --sweep 1,2,4,8,16 --plot sweep.svg\n"
      "Latencies count from the moment when a request was meant to be sent. Inter-token latency is the time between "
      "two\n"
      "chunks of a stream, divided by the tokens of the later one, counted once for each of them. Goodput counts\n"
      "requests that kept every objective of --slo by themselves.\n"
      "Exit codes: as `longhaul` where no request was answered (1 the server failed, 2 a wrong flag or request, 3 the\n"
      "model cannot do it, 4 no server, 5 the server is full, 6 the deadline passed), 7 an objective of --slo was "
      "missed,\n"
      "130 stopped by Ctrl-C (what was measured is printed), else 0."};
  int exit_code = 0;
  longhaul::loadgen::AddBench(app, exit_code);
  const std::optional<int> ended = longhaul::ParseCommandLine(app, argc, argv);
  return ended.value_or(exit_code);
}

}  // namespace

int main(int argc, char** argv) {
  return longhaul::RunProgram(argc, argv, Main);
}
