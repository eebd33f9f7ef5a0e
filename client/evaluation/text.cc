#include "client/evaluation/text.h"

#include "absl/strings/str_cat.h"
#include "client/io/files.h"
#include "client/io/text_input.h"
#include "engine/base/status_macros.h"

namespace longhaul {

std::vector<int32_t> Text::Before(int64_t end, int64_t length) const {
  std::vector<int32_t> part(tokens.begin() + (end - length), tokens.begin() + end);
  if (bos.has_value()) part[0] = *bos;
  return part;
}

absl::StatusOr<std::vector<int32_t>> TokensOf(Client& client, const std::string& text) {
  v1::TokenizeRequest request;
  request.mutable_prompt()->set_text(text);
  LH_ASSIGN_OR_RETURN(const v1::TokenizeResponse response, client.Tokenize(request, {}));
  return std::vector<int32_t>(response.ids().begin(), response.ids().end());
}

absl::StatusOr<std::optional<int32_t>> FindBos(Client& client) {
  LH_ASSIGN_OR_RETURN(const auto a, TokensOf(client, "a"));
  LH_ASSIGN_OR_RETURN(const auto b, TokensOf(client, "b"));
  if (a.size() > 1 && b.size() > 1 && a[0] == b[0]) return a[0];
  return std::nullopt;
}

absl::StatusOr<Text> ReadText(Client& client, const std::string& path) {
  Text text;
  text.path = path;
  LH_ASSIGN_OR_RETURN(const std::string bytes, ReadText("--text", path));
  if (bytes.empty()) return absl::InvalidArgumentError(absl::StrCat("--text: ", path, " is empty"));
  text.bytes = static_cast<int64_t>(bytes.size());
  text.sha256 = Sha256(bytes);
  LH_ASSIGN_OR_RETURN(text.bos, FindBos(client));
  auto tokens = TokensOf(client, bytes);
  if (!tokens.ok()) {
    return absl::Status(
        tokens.status().code(),
        absl::StrCat("--text: ", path, " could not be tokenized: ", std::string(tokens.status().message())));
  }
  text.tokens = *std::move(tokens);
  if (text.bos.has_value()) text.tokens.erase(text.tokens.begin());
  return text;
}

}  // namespace longhaul
