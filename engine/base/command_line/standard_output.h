#pragma once

// Standard output that tells when it could not be written. A full disk is noticed, not taken for success.
namespace longhaul {

// Makes `stdout` note the first error of a write. Call it first in main. A program that calls it has standard
// descriptors from its first instruction on: those that were closed are /dev/null, so that no socket gets their numbers
// (what is written to a closed output fails, as before).
void BeginStandardOutput();

// Writes what is left of `stdout`. Returns `exit_code`, or 1 after a message on standard error when something could not
// be written. A pipe that its reader has closed is no news to anybody: silently 141, as after SIGPIPE.
int EndStandardOutput(int exit_code);

}  // namespace longhaul
