#pragma once

#include <cstddef>
#include <cstdint>

// What large allocations leave of an address space that is limited (ulimit -v). Libraries in C end the process where
// they find no memory; ours end a request, so they are to meet the end first.
namespace longhaul {

// What is smaller adds up slowly, and is asked for too often to ask the system each time.
inline constexpr size_t kLargeAllocation = 1 << 20;

// Bytes that are left; at first 0. Any thread.
void SetAddressSpaceReserve(int64_t bytes);

// Whether so many bytes more leave the reserve: always, where nothing is limited. Takes no memory; some microseconds.
bool LeavesAddressSpaceReserve(size_t bytes) noexcept;

}  // namespace longhaul
