#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "absl/status/status.h"
#include "engine/base/token_bucket.h"
#include "server/front/frame_reader.h"
#include "server/front/front_limits.h"
#include "server/front/path_reader.h"
#include "server/front/read_buffers.h"

namespace longhaul {

// Stands between a client and gRPC and passes on what each sends, byte by byte, as long as it keeps to what a client of
// gRPC needs. gRPC bounds none of this: streams that are opened and reset at once, a header block that never ends,
// frames without content that must be answered or looked at, messages that never become complete. A client that does
// such things is closed; a stream whose message is too large, too slow or finds no room gets a status.
// It reads the framing, and of headers the path alone: what it adds to either side's bytes stands between two frames,
// and what it changes is how large a frame the server's settings allow.
// It can keep the headers of a call from gRPC because the server's settings allow no compression table, which later
// headers could refer to; but not the first ones after the client has heard of that, which tell gRPC so. Of one
// connection; one thread. Time is passed in.
class Http2Guard {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;

  // Bytes to be sent next to each side.
  struct Output {
    std::string to_client, to_server;
  };

  // `shared` and `address` outlive this.
  Http2Guard(const FrontLimits& limits, FrontUse& shared, AddressUse& address, TimePoint now);
  // Gives back what the connection holds of the shared bounds.
  ~Http2Guard();
  Http2Guard(const Http2Guard&) = delete;
  Http2Guard& operator=(const Http2Guard&) = delete;

  // The client, the server has sent `bytes`; appends to `out`. Once it is not kNone, the connection is to be closed.
  Misbehaviour FromClient(std::string_view bytes, TimePoint now, Output& out);
  Misbehaviour FromServer(std::string_view bytes, TimePoint now, Output& out);

  // Ends streams, or the connection, that have taken too long. To be called now and then.
  Misbehaviour Check(TimePoint now, Output& out);

  // Excludes a span from the client's time limits: it was not the client that caused it.
  void Excuse(std::chrono::nanoseconds time);

  // Whether the client has sent the HTTP/2 preface.
  bool greeted() const { return client_settled_; }

  // What waits for the client between two frames of the server's, in bytes.
  int64_t waiting_for_client() const { return static_cast<int64_t>(waiting_.to_client.size()); }

  // The work, in streams, that gRPC may still have to clean up if the connection is closed now: open streams, those
  // that were reset recently, and control frames at their cost.
  int64_t work_left() const;

  // A frame for the client that says why it is closed.
  std::string GoAway(Misbehaviour why) const;

 private:
  // A stream that is open. Of its messages only the framing is looked at: a flag and four bytes of length.
  struct Stream {
    std::array<uint8_t, 5> prefix{};
    uint8_t prefix_bytes = 0;
    bool complete = false;  // a message, and none has begun since
    bool further = false;   // the first message was complete, and more came
    bool of_grpc = false;   // a method of gRPC's own services: health, reflection
    bool client_done = false, server_began = false, server_done = false;
    uint32_t message_left = 0;
    ReadBuffers::Kept kept;     // by a first message that is not complete, or by all after it
    int64_t further_bytes = 0;  // of all after it
    TimePoint since;            // when the message began, or the stream

    // Whether gRPC keeps what it sends.
    bool keeps() const { return !client_done && (!complete || further); }
  };
  using Streams = std::unordered_map<uint32_t, Stream>;

  // Messages of one kind: what gRPC keeps of them, and how much of that is counted in the bounds that are shared.
  struct Account {
    const char* name;
    std::atomic<int64_t>& of_all;
    int64_t& of_address;
    ReadBuffers buffers{};
    std::vector<ReadBuffers::Kept> leaving{};  // of what has ended, until the client's frame has: then it is given back
    int64_t counted = 0;
  };

  // To gRPC.
  void Pass(std::string_view bytes, Output& out);
  Misbehaviour OnClientFrame(const FrameHeader& frame, TimePoint now);
  Misbehaviour OnHeaders(const FrameHeader& frame, TimePoint now);
  // The header block of the stream is there, as frames.
  Misbehaviour OnHeadersEnd(uint32_t id, std::string_view frames, Output& out);
  void Open(uint32_t id, TimePoint now);
  Misbehaviour OnServerFrame(const FrameHeader& frame, TimePoint now);
  // Passes on settings of the server's, but for the size of frames.
  void PassSettings(const FrameReader::Piece& piece, Output& out);
  // Bytes of DATA that the client sent.
  void OnData(uint32_t id, std::string_view payload, TimePoint now);
  // `payload` without the padding of its frame.
  std::string_view Unpadded(const FrameReader::Piece& piece);

  // Counts what gRPC keeps of a piece that it was sent. Refuses a stream where there is no room for it: the one whose
  // piece it is, else one that keeps the buffer into which the piece went.
  void Keep(const FrameReader::Piece& piece, TimePoint now);
  Account& AccountOf(const Stream& stream) { return stream.further ? further_ : first_; }
  // Brings the shared bounds up to `account`; false if it has grown and there is no room for it.
  bool Count(Account& account);
  // What the stream keeps is gRPC's to free, which it does once it has the whole frame that ends the stream or message.
  void Release(Stream& stream);
  void MessageComplete(Stream& stream);
  void Erase(Streams::iterator stream);
  // Ends a stream that is open: its call gets `status`, the server forgets it.
  void Refuse(uint32_t id, StreamRefusal why, const absl::Status& status, TimePoint now);
  // Tells the client alone.
  void Answer(uint32_t id, StreamRefusal why, const absl::Status& status);
  // Does what waits for the end of a frame, if there is one.
  void AtFrameEnd(Output& out);

  const FrontLimits& limits_;
  FrontUse& shared_;
  AddressUse& address_;

  size_t preface_bytes_ = 0;
  bool client_settled_ = false, server_settled_ = false;  // the first frame of each has come
  FrameReader client_frames_, server_frames_;
  bool client_in_headers_ = false, server_in_headers_ = false;  // CONTINUATION must follow
  std::string settings_;                                        // of the server's that are arriving
  bool acknowledged_ = false;                                   // the client knows the server's settings
  bool knows_no_table_ = false;                                 // and gRPC has had headers that say so
  bool drop_headers_ = false;                                   // of the header block that is arriving
  int64_t header_block_bytes_ = 0;
  // The block as far as it has come: gRPC would make of three bytes 80, and keep them while the rest is awaited.
  std::string headers_;
  PathReader paths_;
  uint32_t data_left_ = 0;  // of the payload of a DATA frame without its padding
  bool pad_length_due_ = false;
  TimePoint frame_since_;                       // when the client's last frame, or the connection, began
  uint32_t last_stream_ = 0, last_passed_ = 0;  // of those that the client opened, that the server knows
  Streams streams_;
  Account first_{"the messages that are arriving", shared_.upload_bytes, address_.upload_bytes};
  Account further_{"the messages after the first ones of calls", shared_.further_bytes, address_.further_bytes};
  TokenBucket resets_, control_frames_;
  Misbehaviour misbehaviour_ = Misbehaviour::kNone;  // of too many refusals
  Output waiting_;                                   // to be sent between two frames
};

}  // namespace longhaul
