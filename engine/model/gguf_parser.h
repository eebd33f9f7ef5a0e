#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/model/byte_source.h"
#include "engine/model/gguf.h"

namespace longhaul {

// What the bytes of a GGUF file say.
struct GgufContents {
  std::map<std::string, GgufValue, std::less<>> metadata;
  std::vector<GgufTensor> tensors;  // names differ, data do not overlap
  std::vector<std::byte> header;    // as it stands in the file, up to where the tensor data begin
};

// The layout, all little-endian, string = length u64, bytes:
//   file     := "GGUF" version:u32 n_tensors:u64 n_values:u64 value* tensor* padding data
//   value    := key:string type:u32 payload        (type 9: element_type:u32 count:u64 payload*)
//   tensor   := name:string n_dims:u32 dim:u64* type:u32 offset:u64   (offset from the begin of data)
// Data and each tensor in it begin at multiples of general.alignment (default 32). Checks everything that GgufFile
// promises; takes time and memory in proportion to the header, and reads little more of the source than that.
absl::StatusOr<GgufContents> ParseGguf(const ByteSource& source);

}  // namespace longhaul
