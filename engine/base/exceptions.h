#pragma once

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"

// Turns exceptions into statuses. Only a lack of memory (std::bad_alloc, std::length_error) or of a thread
// (std::system_error) is thrown, by the standard library or by our own allocators and StartThread; all other errors are
// statuses.
namespace longhaul {

// RESOURCE_EXHAUSTED with a retry-after: out of memory. Allocates on its first call only.
absl::Status OutOfMemoryError();

// Returns what `work` returns; OutOfMemoryError where it throws for lack of memory, RESOURCE_EXHAUSTED with the reason
// for a std::system_error (no thread, for example), INTERNAL for any other exception.
absl::Status CatchExceptions(absl::FunctionRef<absl::Status()> work);

}  // namespace longhaul
