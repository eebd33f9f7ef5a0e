#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "engine/model/byte_source.h"
#include "engine/model/checkpoint.h"

namespace longhaul {

// Reads the header of a GGUF file, version 2 or 3, little-endian. INVALID_ARGUMENT naming the file, the key or tensor,
// what it holds and what was expected; for a file of another kind, what it is. The layout, string = length u64,
// bytes:
//   file     := "GGUF" version:u32 n_tensors:u64 n_values:u64 value* tensor* padding data
//   value    := key:string type:u32 payload        (type 9: element_type:u32 count:u64 payload*)
//   tensor   := name:string n_dims:u32 dim:u64* type:u32 offset:u64   (offset from the start of data)
// Data and each tensor in it begin at multiples of general.alignment (default 32). Takes time and memory in proportion
// to the header, and reads little beyond it.
absl::StatusOr<std::unique_ptr<Checkpoint>> ReadGguf(std::unique_ptr<ByteSource> source);

}  // namespace longhaul
