#include "server/grpc/text_bounds.h"

#include <string_view>

#include "absl/strings/str_cat.h"
#include "engine/base/address_space.h"
#include "engine/base/exceptions.h"
#include "engine/base/field_error.h"
#include "engine/base/status_macros.h"

namespace longhaul {
namespace {

absl::Status CheckIds(std::string_view field, const v1::TokenIds& ids) {
  if (static_cast<size_t>(ids.ids_size()) <= kMaxTextIds) return absl::OkStatus();
  return FieldError(field,
                    absl::StrCat(ids.ids_size(), " ids are more than the ", kMaxTextIds, " that one call may hold"));
}

}  // namespace

absl::Status CheckTokenize(const v1::TokenizeRequest& request) {
  LH_RETURN_IF_ERROR(CheckIds("prompt.token_ids.ids", request.prompt().token_ids()));
  size_t bytes = request.prompt().text().size();
  for (const v1::Message& message : request.prompt().chat().messages()) bytes += message.content().size();
  if (bytes <= kMaxTextBytes) return absl::OkStatus();
  return FieldError("prompt", absl::StrCat(bytes, " bytes of text are more than the ", kMaxTextBytes,
                                           " that one call may tokenize; cut the text"));
}

absl::Status CheckDetokenize(const v1::DetokenizeRequest& request) {
  if (request.token_ids().ids().empty()) return FieldError("token_ids", "there are none");
  return CheckIds("token_ids.ids", request.token_ids());
}

absl::Status CheckTextBytes(const char* field, size_t bytes) {
  if (bytes <= kMaxTextBytes) return absl::OkStatus();
  return FieldError(field, absl::StrCat(bytes, " bytes of text are more than the ", kMaxTextBytes, " of one answer"));
}

absl::Status CheckPieces(const Engine& engine, const std::vector<TokenId>& ids) {
  if (ids.size() > kMaxPieces) {
    return FieldError("pieces", absl::StrCat("those of ", ids.size(), " tokens are more than the ", kMaxPieces,
                                             " of one answer; cut the text, or ask for ids alone"));
  }
  size_t bytes = 0;
  for (TokenId id : ids) bytes += engine.TokenBytes(id).size();
  LH_RETURN_IF_ERROR(CheckTextBytes("pieces", bytes));
  // They are taken one by one, too small to be counted: whether there is so much is asked at once.
  constexpr size_t kPieceBytes = 64;
  if (!LeavesAddressSpaceReserve(bytes + ids.size() * kPieceBytes)) return OutOfMemoryError();
  return absl::OkStatus();
}

}  // namespace longhaul
