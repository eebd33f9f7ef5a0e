#include "engine/base/exceptions.h"

#include <exception>
#include <new>
#include <stdexcept>
#include <system_error>

#include "engine/base/overload.h"

namespace longhaul {

absl::Status OutOfMemoryError() {
  static const absl::Status& status = *new absl::Status([] {
    absl::Status made = absl::ResourceExhaustedError("the server is out of memory");
    SetRetryAfter(1, made);
    return made;
  }());
  return status;
}

absl::Status CatchExceptions(absl::FunctionRef<absl::Status()> work) {
  try {
    try {
      return work();
    } catch (const std::bad_alloc&) {
      return OutOfMemoryError();
    } catch (const std::length_error&) {  // of a container beyond its max_size
      return OutOfMemoryError();
    } catch (const std::system_error& error) {
      return absl::ResourceExhaustedError(error.what());
    } catch (const std::exception& error) {
      return absl::InternalError(error.what());
    }
  } catch (...) {  // there was no memory to make the message
    return OutOfMemoryError();
  }
}

}  // namespace longhaul
