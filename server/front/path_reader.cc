#include "server/front/path_reader.h"

#include <cstdint>
#include <new>

#include "server/front/frame_reader.h"

namespace longhaul {
namespace {

constexpr size_t kPriorityBytes = 5;

std::string_view View(const uint8_t* data, size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

// Joins the parts of a header block without what HEADERS may carry beside; null where that is longer than the frame.
std::optional<std::string> Block(std::string_view frames) {
  std::string block;
  FrameReader reader;
  FrameReader::Piece piece;
  while (!frames.empty() && reader.Take(frames, piece)) {
    std::string_view part = piece.payload;
    if (piece.frame.type == FrameType::kHeaders) {
      size_t padding = 0;
      if (piece.frame.has(kFlagPadded)) {
        if (part.empty()) return std::nullopt;
        padding = static_cast<uint8_t>(part.front());
        part.remove_prefix(1);
      }
      const size_t before = piece.frame.has(kFlagPriority) ? kPriorityBytes : 0;
      if (part.size() < before + padding) return std::nullopt;
      part = part.substr(before, part.size() - before - padding);
    }
    block.append(part);
  }
  return block;
}

}  // namespace

PathReader::PathReader() {
  nghttp2_hd_inflater* inflater = nullptr;
  if (nghttp2_hd_inflate_new(&inflater) != 0) throw std::bad_alloc();
  inflater_.reset(inflater);
}

std::optional<std::string> PathReader::Read(std::string_view frames) {
  const std::optional<std::string> block = Block(frames);
  if (!block.has_value()) return std::nullopt;
  const auto* in = reinterpret_cast<const uint8_t*>(block->data());
  size_t left = block->size();
  std::string path;
  for (;;) {
    nghttp2_nv field;
    int flags = 0;
    const ssize_t taken = nghttp2_hd_inflate_hd2(inflater_.get(), &field, &flags, in, left, /*in_final=*/1);
    if (taken < 0) return std::nullopt;
    in += taken;
    left -= static_cast<size_t>(taken);
    if ((flags & NGHTTP2_HD_INFLATE_EMIT) != 0 && View(field.name, field.namelen) == ":path") {
      if (!path.empty()) return std::nullopt;
      path = View(field.value, field.valuelen);
    }
    if ((flags & NGHTTP2_HD_INFLATE_FINAL) != 0) break;
    if ((flags & NGHTTP2_HD_INFLATE_EMIT) == 0 && left == 0) break;
  }
  nghttp2_hd_inflate_end_headers(inflater_.get());
  return path;
}

}  // namespace longhaul
