#pragma once

#include <google/protobuf/descriptor.h>
#include <google/protobuf/io/zero_copy_stream.h>

#include "absl/status/status.h"

namespace longhaul {

// What a message would come to, told from its bytes before it is parsed: an empty part takes two bytes on the wire and
// dozens in memory. INVALID_ARGUMENT, naming the field and the bound, when a text, a submessage or a field that is not
// known occurs more than 1,024 times. Bytes that are malformed are left to the parser.
absl::Status CheckShape(google::protobuf::io::ZeroCopyInputStream& bytes, const google::protobuf::Descriptor& type);

}  // namespace longhaul
