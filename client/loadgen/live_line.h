#pragma once

#include <thread>

#include "client/loadgen/load_run.h"

namespace longhaul::loadgen {

// One line on standard error that tells twice a second how a run goes, as long as the object lives. Only on a terminal.
class LiveLine {
 public:
  // `seconds`: of the whole run; infinite where that is not known. `run` outlives this.
  LiveLine(LoadRun& run, double seconds, bool quiet);
  ~LiveLine();
  LiveLine(const LiveLine&) = delete;
  LiveLine& operator=(const LiveLine&) = delete;

 private:
  std::jthread thread_;
};

}  // namespace longhaul::loadgen
