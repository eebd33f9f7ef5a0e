#pragma once

namespace longhaul {

// What `main` of each program is: `program` between BeginStandardOutput and EndStandardOutput. Where it throws, for want
// of memory or of a thread, a sentence on standard error says what could not be had, and the exit code is 1.
int RunProgram(int argc, char** argv, int (*program)(int argc, char** argv));

}  // namespace longhaul
