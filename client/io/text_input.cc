#include "client/io/text_input.h"

#include <algorithm>
#include <array>

#include "absl/strings/str_cat.h"
#include "client/io/files.h"
#include "engine/base/printable.h"
#include "engine/base/status_macros.h"
#include "engine/base/utf8.h"

namespace longhaul {
namespace {

using std::string_view_literals::operator""sv;

constexpr size_t kExamined = size_t{1} << 16;  // bytes of a file that tell what it is
constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";

struct Format {
  std::string_view beginning, name;
};
constexpr std::string_view kUtf16 = "UTF-16: convert it with `iconv -f UTF-16 -t UTF-8`";
constexpr std::array<Format, 9> kFormats = {{
    {"\xff\xfe\0\0"sv, "UTF-32: convert it with `iconv -f UTF-32 -t UTF-8`"},
    {"\xff\xfe"sv, kUtf16},
    {"\xfe\xff"sv, kUtf16},
    {"%PDF-"sv, "a PDF: convert it with `pdftotext`"},
    {"PK\3\4"sv, "a zip archive, as .docx, .odt and .epub are: save it as plain text"},
    {"\x1f\x8b"sv, "a gzip archive: unpack it with `gunzip`"},
    {"\xfd\x37zXZ"sv, "an xz archive: unpack it with `unxz`"},
    {"\x28\xb5\x2f\xfd"sv, "a zstd archive: unpack it with `unzstd`"},
    {"GGUF"sv, "a model file"},
}};

// Latin text in UTF-16 has a NUL in every second place.
bool LooksLikeUtf16(std::string_view bytes) {
  std::array<size_t, 2> zeros{};
  for (size_t i = 0; i < bytes.size(); ++i) zeros[i % 2] += bytes[i] == '\0' ? 1 : 0;
  const size_t most = std::max(zeros[0], zeros[1]), least = std::min(zeros[0], zeros[1]);
  return most > bytes.size() / 5 && least < most / 10;
}

bool LooksBinary(std::string_view bytes) {
  const auto controls = std::count_if(bytes.begin(), bytes.end(), [](char c) {
    return static_cast<unsigned char>(c) < 0x20 && std::string_view("\t\n\f\r\x1b").find(c) == std::string_view::npos;
  });
  return static_cast<size_t>(controls) > bytes.size() / 100;
}

// What bytes that are not UTF-8 are.
std::string_view OtherFormat(std::string_view bytes) {
  for (const Format& format : kFormats) {
    if (bytes.starts_with(format.beginning)) return format.name;
  }
  if (LooksLikeUtf16(bytes)) return kUtf16;
  if (LooksBinary(bytes)) return "a binary file";
  return "another encoding: convert it with `iconv -f WINDOWS-1252 -t UTF-8`, or from whatever encoding it has";
}

// What a file is although its beginning is UTF-8; empty: text.
std::string_view HiddenFormat(std::string_view bytes) {
  for (const Format& format : kFormats) {
    // A text may begin with this word.
    if (format.beginning != "GGUF" && bytes.starts_with(format.beginning)) return format.name;
  }
  return LooksLikeUtf16(bytes) ? kUtf16 : "";
}

}  // namespace

absl::Status CheckText(const std::string& name, std::string_view text) {
  const size_t invalid = FirstInvalidUtf8(text);
  if (invalid == text.size()) return absl::OkStatus();
  const std::string what(OtherFormat(text.substr(0, kExamined)));
  return absl::InvalidArgumentError(absl::StrCat(name, " is not UTF-8 at byte ", invalid, "; it looks like ", what));
}

absl::StatusOr<std::string> ReadText(const std::string& flag, const std::string& path) {
  LH_ASSIGN_OR_RETURN(std::string text, ReadFile(flag, path));
  if (text.starts_with(kByteOrderMark)) text.erase(0, kByteOrderMark.size());
  const std::string name = path == "-" ? "standard input" : absl::StrCat(flag, " ", Printable(path));
  LH_RETURN_IF_ERROR(CheckText(name, text));
  const std::string what(HiddenFormat(std::string_view(text).substr(0, kExamined)));
  if (!what.empty()) return absl::InvalidArgumentError(absl::StrCat(name, " looks like ", what));
  return text;
}

void DropFinalNewline(std::string& text) {
  const std::string_view end = text;
  text.resize(text.size() - (end.ends_with("\r\n") ? 2 : end.ends_with('\n') ? 1 : 0));
}

}  // namespace longhaul
