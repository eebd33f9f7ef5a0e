#include "server/grpc/message_shape.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/wire_format_lite.h>

#include <map>
#include <string>

#include "absl/strings/str_cat.h"
#include "engine/base/field_error.h"

namespace longhaul {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::internal::WireFormatLite;

constexpr int kMaxParts = 1024;
constexpr int kMaxDepth = 32;

class ShapeCheck {
 public:
  explicit ShapeCheck(google::protobuf::io::ZeroCopyInputStream& bytes) : input_(&bytes) {}

  // Reads a message to its end; false at the first fault.
  bool Read(const Descriptor& type, const std::string& path, int depth) {
    int groups = 0;  // that are open; none is known
    while (const uint32_t tag = input_.ReadTag()) {
      const auto wire_type = WireFormatLite::GetTagWireType(tag);
      if (wire_type == WireFormatLite::WIRETYPE_END_GROUP) {
        if (--groups < 0) return false;
        continue;
      }
      const FieldDescriptor* const field =
          groups > 0 ? nullptr : Known(type.FindFieldByNumber(WireFormatLite::GetTagFieldNumber(tag)), wire_type);
      // Numbers, packed or not, take no more memory than on the wire times eight.
      if (field == nullptr || field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE ||
          field->cpp_type() == FieldDescriptor::CPPTYPE_STRING) {
        if (!Count(field, path)) return false;
      }
      if (wire_type == WireFormatLite::WIRETYPE_START_GROUP) {
        ++groups;
        continue;
      }
      if (field == nullptr || field->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE || depth == kMaxDepth) {
        if (!WireFormatLite::SkipField(&input_, tag)) return false;
        continue;
      }
      uint32_t length = 0;
      if (!input_.ReadVarint32(&length) || length > INT32_MAX) return false;
      const auto limit = input_.PushLimit(static_cast<int>(length));
      if (!Read(*field->message_type(), absl::StrCat(path, path.empty() ? "" : ".", field->name()), depth + 1)) {
        return false;
      }
      input_.PopLimit(limit);
    }
    return true;
  }

  const absl::Status& status() const { return status_; }

 private:
  // Null for a field whose type on the wire is not its own: the parser keeps it as one that it does not know.
  static const FieldDescriptor* Known(const FieldDescriptor* field, WireFormatLite::WireType wire_type) {
    if (field == nullptr) return nullptr;
    const auto own = WireFormatLite::WireTypeForFieldType(static_cast<WireFormatLite::FieldType>(field->type()));
    const bool packed = field->is_packable() && wire_type == WireFormatLite::WIRETYPE_LENGTH_DELIMITED;
    return wire_type == own || packed ? field : nullptr;
  }

  bool Count(const FieldDescriptor* field, const std::string& path) {
    if (++counts_[field] <= kMaxParts) return true;
    const std::string problem = absl::StrCat("there are more than ", kMaxParts);
    status_ = field != nullptr ? FieldError(absl::StrCat(path, path.empty() ? "" : ".", field->name()), problem)
                               : absl::InvalidArgumentError("fields that are not known: " + problem);
    return false;
  }

  google::protobuf::io::CodedInputStream input_;
  std::map<const FieldDescriptor*, int> counts_;  // null: not known
  absl::Status status_;
};

}  // namespace

absl::Status CheckShape(google::protobuf::io::ZeroCopyInputStream& bytes, const Descriptor& type) {
  ShapeCheck check(bytes);
  check.Read(type, "", 0);
  return check.status();
}

}  // namespace longhaul
