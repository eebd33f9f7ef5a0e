#pragma once

#include <nghttp2/nghttp2.h>

#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace longhaul {

// Finds out which method each call of a connection is for. It must see every header block that gRPC sees, in order: one
// may refer to those before it (RFC 7541). One thread.
class PathReader {
 public:
  // Throws std::bad_alloc.
  PathReader();

  // `frames`: a HEADERS frame with its continuations, whole. The value of `:path`, empty where there is none; null
  // where the block is malformed or has two.
  std::optional<std::string> Read(std::string_view frames);

 private:
  struct Delete {
    void operator()(nghttp2_hd_inflater* inflater) const { nghttp2_hd_inflate_del(inflater); }
  };
  std::unique_ptr<nghttp2_hd_inflater, Delete> inflater_;
};

}  // namespace longhaul
