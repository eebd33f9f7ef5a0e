#pragma once

// Standard output that reports failed writes, so that a full disk is not taken for success.
namespace longhaul {

// Makes `stdout` note the first error of a write. Call it first in main. A program that calls it has standard
// descriptors from its first instruction on: those that were closed are /dev/null, so that no socket gets their numbers
// (what is written to a closed output fails, as before).
void BeginStandardOutput();

// Writes what is left of `stdout`. Returns `exit_code`, or 1 after a message on standard error when something could not
// be written. Where the reader of a pipe has closed it: silently 141, as after SIGPIPE.
int EndStandardOutput(int exit_code);

}  // namespace longhaul
