#include "server/front/frame_reader.h"

#include <algorithm>
#include <cstring>

namespace longhaul {

bool FrameReader::Take(std::string_view& bytes, Piece& piece) {
  piece = Piece();
  if (header_bytes_ < FrameHeader::kBytes) {
    const size_t n = std::min(FrameHeader::kBytes - header_bytes_, bytes.size());
    std::memcpy(header_.data() + header_bytes_, bytes.data(), n);
    header_bytes_ += n;
    bytes.remove_prefix(n);
    if (header_bytes_ < FrameHeader::kBytes) return false;
    const auto byte = [this](size_t i) { return static_cast<uint32_t>(static_cast<uint8_t>(header_[i])); };
    frame_.length = byte(0) << 16 | byte(1) << 8 | byte(2);
    frame_.type = static_cast<FrameType>(byte(3));
    frame_.flags = static_cast<uint8_t>(byte(4));
    frame_.stream = (byte(5) & 0x7f) << 24 | byte(6) << 16 | byte(7) << 8 | byte(8);
    left_ = frame_.length;
    piece.begins = true;
    piece.header = std::string_view(header_.data(), header_.size());
  }
  piece.frame = frame_;
  piece.payload = bytes.substr(0, left_);
  bytes.remove_prefix(piece.payload.size());
  left_ -= static_cast<uint32_t>(piece.payload.size());
  if (left_ == 0) {
    piece.ends = true;
    header_bytes_ = 0;
  }
  return true;
}

}  // namespace longhaul
