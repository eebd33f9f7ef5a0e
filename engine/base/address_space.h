#pragma once

#include <cstddef>
#include <cstdint>

// A reserve that large allocations leave in a limited address space (ulimit -v). C libraries end the process when they
// find no memory, our own code ends one request, so our large allocations have to fail first.
namespace longhaul {

// Bytes from which on an allocation asks for the reserve. Smaller ones are too frequent for a system call each.
inline constexpr size_t kLargeAllocation = 1 << 20;

// Sets the size of the reserve in bytes; 0 at first. Any thread.
void SetAddressSpaceReserve(int64_t bytes);

// Whether `bytes` more can be allocated without touching the reserve; always true without a limit. Allocates nothing,
// takes some microseconds. Any thread.
bool LeavesAddressSpaceReserve(size_t bytes) noexcept;

}  // namespace longhaul
