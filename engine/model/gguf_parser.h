#pragma once

#include <cstddef>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/model/gguf.h"

namespace longhaul {

// What the bytes of a GGUF file say.
struct GgufContents {
  std::map<std::string, GgufValue, std::less<>> metadata;
  std::vector<GgufTensor> tensors;  // names differ, data do not overlap
  size_t header_bytes = 0;          // the tensor data begin here
};

// The layout, all little-endian, string = length u64, bytes:
//   file     := "GGUF" version:u32 n_tensors:u64 n_values:u64 value* tensor* padding data
//   value    := key:string type:u32 payload        (type 9: element_type:u32 count:u64 payload*)
//   tensor   := name:string n_dims:u32 dim:u64* type:u32 offset:u64   (offset from the begin of data)
// Data and each tensor in it begin at multiples of general.alignment (default 32). Checks everything that GgufFile
// promises; takes time and memory in proportion to the header. `name` stands for the file in messages.
absl::StatusOr<GgufContents> ParseGguf(std::span<const std::byte> bytes, const std::string& name);

}  // namespace longhaul
