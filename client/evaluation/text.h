#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/client.h"

namespace longhaul {

// A text as the model's tokens.
struct Text {
  std::string path, sha256;
  int64_t bytes = 0;
  std::vector<int32_t> tokens;  // without the model's BOS
  std::optional<int32_t> bos;   // the token that the model wants before every text

  int64_t size() const { return static_cast<int64_t>(tokens.size()); }

  // `length` tokens that end before token `end`; where the model wants a BOS it takes the place of the first one.
  // REQUIRES: 0 < length <= end <= size().
  std::vector<int32_t> Before(int64_t end, int64_t length) const;
};

// The server tokenizes.
absl::StatusOr<std::vector<int32_t>> TokensOf(Client& client, const std::string& text);

// The BOS of the server's model, if it has one: the token that stands first in every text.
absl::StatusOr<std::optional<int32_t>> FindBos(Client& client);

// Reads a text file and has it tokenized once, as a whole.
absl::StatusOr<Text> ReadText(Client& client, const std::string& path);

}  // namespace longhaul
