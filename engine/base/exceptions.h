#pragma once

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"

// Where exceptions end. Our own code throws none; the standard library does where there is no memory and no thread to be
// had.
namespace longhaul {

// RESOURCE_EXHAUSTED of who meets the end of the memory, and when to try again. Takes no memory after the first call.
absl::Status OutOfMemoryError();

// What `work` returns; OutOfMemoryError where it throws for want of memory, RESOURCE_EXHAUSTED with the reason where a
// thread or the like could not be had, INTERNAL for any other exception.
absl::Status CatchExceptions(absl::FunctionRef<absl::Status()> work);

}  // namespace longhaul
