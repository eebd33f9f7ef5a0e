#include "engine/model/gguf/file_kind.h"

#include <algorithm>
#include <bit>
#include <cctype>
#include <cstring>
#include <string_view>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "engine/base/quoted.h"
#include "engine/base/strings.h"
#include "engine/base/utf8.h"

namespace longhaul {
namespace {

using std::string_view_literals::operator""sv;

constexpr std::string_view kConvert = "convert the model to GGUF, or download a GGUF file of it";
constexpr std::string_view kUnpack = "unpack it first";

struct Kind {
  size_t at;
  std::string_view magic;
  std::string_view name;
  std::string_view advice;
};

constexpr Kind kKinds[] = {
    {0, "version https://git-lfs"sv, "a Git LFS pointer, which only says where the model is",
     "run 'git lfs pull' in its folder, or download the model itself"},
    {0, "lmgg"sv, "a GGML file, the format before GGUF", kConvert},
    {0, "fmgg"sv, "a GGMF file, a format before GGUF", kConvert},
    {0, "tjgg"sv, "a GGJT file, the format before GGUF", kConvert},
    {0, "algg"sv, "a LoRA adapter in a format before GGUF", "merge it into its model, and convert that to GGUF"},
    {0, "\x89HDF\r\n\x1a\n"sv, "an HDF5 file, as Keras writes them", kConvert},
    {0, "\x1f\x8b"sv, "compressed with gzip", kUnpack},
    {0, "\x28\xb5\x2f\xfd"sv, "compressed with zstd", kUnpack},
    {0, "\xfd\x37zXZ\0"sv, "compressed with xz", kUnpack},
    {0, "BZh"sv, "compressed with bzip2", kUnpack},
    {0, "7z\xbc\xaf\x27\x1c"sv, "a 7z archive", kUnpack},
    {257, "ustar"sv, "a tar archive", kUnpack},
};

// After a byte order mark and blanks.
std::string_view Trimmed(std::string_view text) {
  if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);
  text.remove_prefix(std::min(text.find_first_not_of(" \t\r\n"), text.size()));
  return text;
}

// A length of 64 bits that the file has room for, then a JSON object.
bool IsSafetensors(std::string_view begin, int64_t file_bytes) {
  uint64_t length = 0;
  if (begin.size() < sizeof(length) + 1 || begin[sizeof(length)] != '{') return false;
  std::memcpy(&length, begin.data(), sizeof(length));
  return length >= 2 && length <= static_cast<uint64_t>(file_bytes) - sizeof(length);
}

// Protocol 2 or later, as torch.save and joblib write it.
bool IsPickle(std::string_view begin) {
  return begin.size() >= 2 && begin[0] == '\x80' && begin[1] >= 2 && begin[1] <= 5;
}

bool IsMarkup(std::string_view trimmed) {
  for (const char* tag : {"<!doctype", "<html", "<head", "<body", "<?xml", "<!--"}) {
    if (absl::StartsWithIgnoreCase(ToAbsl(trimmed), tag)) return true;
  }
  return false;
}

// UTF-8 without control characters.
bool IsText(std::string_view begin) {
  const size_t cut_character = begin.size() == kFileKindBytes ? 3 : 0;
  return FirstInvalidUtf8(begin) + cut_character >= begin.size() && std::ranges::all_of(begin, [](unsigned char c) {
           return c >= 0x80 || std::isprint(c) != 0 || std::isspace(c) != 0;
         });
}

}  // namespace

std::string NameOtherFile(std::span<const std::byte> bytes, int64_t file_bytes) {
  const std::string_view begin(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (begin.starts_with("GGUF")) return "";
  const auto named = [](std::string_view name, std::string_view advice) {
    return absl::StrCat(ToAbsl(name), ": ", ToAbsl(advice));
  };
  for (const Kind& kind : kKinds) {
    if (begin.substr(std::min(kind.at, begin.size())).starts_with(kind.magic)) return named(kind.name, kind.advice);
  }
  if (IsSafetensors(begin, file_bytes)) return named("a safetensors file", kConvert);
  if (begin.starts_with("PK\3\4")) {
    const bool pytorch = begin.find("data.pkl") != std::string_view::npos;
    return pytorch ? named("a PyTorch checkpoint", kConvert) : named("a ZIP archive", kUnpack);
  }
  if (IsPickle(begin)) return named("a Python pickle, as PyTorch's older checkpoints are", kConvert);
  const std::string_view trimmed = Trimmed(begin);
  if (IsMarkup(trimmed)) {
    return named("an HTML page, as a site sends it in place of a file",
                 "download the model again, by the link to the file itself");
  }
  if (std::ranges::all_of(begin, [](char c) { return c == '\0'; })) {
    return named("a file that begins with zeros, as downloads do that are not complete", "download it again");
  }
  if (IsText(begin)) return named(absl::StrCat("text that begins with ", Quoted(trimmed)), "download the model itself");
  constexpr size_t kShown = 8;
  return absl::StrCat("a file of an unknown kind: it begins with the bytes ",
                      absl::BytesToHexString(ToAbsl(begin.substr(0, kShown))), ", not with 'GGUF'");
}

}  // namespace longhaul
