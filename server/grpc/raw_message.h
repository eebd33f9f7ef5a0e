#pragma once

#include <grpcpp/grpcpp.h>
#include <grpcpp/support/proto_buffer_reader.h>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "server/grpc/message_shape.h"

// Messages of raw methods: parsed by us, so that one that does not parse gets INVALID_ARGUMENT.
namespace longhaul {

// Parses a request, of the shape that CheckShape allows, and frees its bytes, which gRPC would keep until the end of
// the call.
template <typename Message>
absl::StatusOr<Message> TakeMessage(const grpc::ByteBuffer& buffer) {
  {
    grpc::ByteBuffer copy(buffer);  // shares the bytes; reading takes the buffer apart
    grpc::ProtoBufferReader reader(&copy);
    if (absl::Status status = CheckShape(reader, *Message::descriptor()); !status.ok()) return status;
  }
  Message message;
  // Casting const away is safe: nobody else reads the buffer, and gRPC made it non-const.
  if (!grpc::SerializationTraits<Message>::Deserialize(&const_cast<grpc::ByteBuffer&>(buffer), &message).ok()) {
    return absl::InvalidArgumentError(absl::StrCat("the message is no ", Message::descriptor()->full_name(),
                                                   ": it is malformed, or a text in it is not UTF-8"));
  }
  return message;
}

template <typename Message>
void Serialize(const Message& message, grpc::ByteBuffer& buffer) {
  buffer.Clear();
  bool own_buffer = false;
  grpc::SerializationTraits<Message>::Serialize(message, &buffer, &own_buffer);
}

}  // namespace longhaul
