#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "server/front/frame_reader.h"

// Frames that the front writes on behalf of one side of a connection, RFC 9113 section 6 and RFC 7541.
namespace longhaul {

// Error codes of RST_STREAM and GOAWAY.
enum class Http2Error : uint32_t { kNoError = 0, kCancel = 8, kEnhanceYourCalm = 11 };

void AppendRstStream(uint32_t stream, Http2Error error, std::string& out);

// GOAWAY with a readable text as its debug data. `last_stream`: the last one that may have been processed.
void AppendGoAway(uint32_t last_stream, Http2Error error, std::string_view text, std::string& out);

// An empty SETTINGS frame, with which a server must begin.
void AppendEmptySettings(std::string& out);

// The answer of a gRPC call that has none yet: headers alone, which end the stream ("Trailers-Only"). Its header block
// neither reads nor changes the compression table of the connection. `message` is any text; `details`: a serialized
// google.rpc.Status, or empty.
void AppendCallError(uint32_t stream, int grpc_status, std::string_view message, std::string_view details,
                     std::string& out);

}  // namespace longhaul
