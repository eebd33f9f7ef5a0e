#include "engine/model/gguf/file_kind.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <string_view>

#include "engine/model/gguf/gguf.h"

namespace longhaul {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using namespace std::string_view_literals;

// What opening a file of these bytes says.
std::string Refusal(std::string_view bytes) {
  const auto file = ReadGguf(SourceOf(std::as_bytes(std::span(bytes)), "m.gguf"));
  EXPECT_EQ(file.status().code(), absl::StatusCode::kInvalidArgument) << bytes;
  return std::string(file.status().message());
}

std::string Safetensors(uint64_t length) {
  std::string bytes(sizeof(length), '\0');
  std::memcpy(bytes.data(), &length, sizeof(length));
  return bytes + R"({"model.embed_tokens.weight":{"dtype":"BF16"}})";
}

TEST(FileKindTest, NamesWhatAFileIsAndWhatToDo) {
  const struct {
    std::string_view bytes, kind, advice;
  } files[] = {
      {"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 98362432\n", "a Git LFS pointer",
       "git lfs pull"},
      {"<!DOCTYPE html>\n<html>", "an HTML page", "download the model again"},
      {"\n  <HTML lang=\"en\">", "an HTML page", "download"},
      {"\xef\xbb\xbf<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code>", "an HTML page", "download"},
      {"PK\3\4\0\0\0\0\0\0\0\0archive/data.pkl"sv, "a PyTorch checkpoint", "convert the model to GGUF"},
      {"PK\3\4\0\0\0\0\0\0\0\0model.gguf"sv, "a ZIP archive", "unpack it"},
      {"\x80\2\x8a\nl\xfc\x9c"sv, "a Python pickle", "convert the model to GGUF"},
      {"tjgg\3\0\0\0"sv, "a GGJT file", "convert the model to GGUF"},
      {"lmgg\0\0\0\0"sv, "a GGML file", "convert the model to GGUF"},
      {"fmgg\1\0\0\0"sv, "a GGMF file", "convert the model to GGUF"},
      {"algg\1\0\0\0"sv, "a LoRA adapter", "merge it"},
      {"\x1f\x8b\x08\0"sv, "compressed with gzip", "unpack it"},
      {"\x28\xb5\x2f\xfd\x04"sv, "compressed with zstd", "unpack it"},
      {"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"sv, "begins with zeros", "download it again"},
      {"Entry not found", "text that begins with 'Entry not found'", "download the model itself"},
      {"{\"error\":\"Invalid credentials\"}", "text that begins with '{\"error\"", "download the model itself"},
      {"\x7f\x45LF\2\1\1\0\0"sv, "of an unknown kind: it begins with the bytes 7f454c4602010100", "'GGUF'"},
      {"\xff\xff"sv, "of an unknown kind", "ffff"},
  };
  for (const auto& file : files) {
    EXPECT_THAT(Refusal(file.bytes), AllOf(HasSubstr("m.gguf: not a GGUF file but "), HasSubstr(std::string(file.kind)),
                                           HasSubstr(std::string(file.advice))));
  }
  std::string tar(512, '\0');
  tar.replace(0, 10, "model.gguf").replace(257, 5, "ustar");
  EXPECT_THAT(Refusal(tar), HasSubstr("a tar archive: unpack it first"));
}

TEST(FileKindTest, SafetensorsBeginWithALengthThatFits) {
  EXPECT_THAT(Refusal(Safetensors(46)), HasSubstr("a safetensors file: convert the model to GGUF"));
  EXPECT_THAT(Refusal(Safetensors(47)), HasSubstr("of an unknown kind"));
  EXPECT_THAT(Refusal(Safetensors(~uint64_t{0})), HasSubstr("of an unknown kind"));
}

TEST(FileKindTest, LongTextMayBeCutInsideACharacter) {
  std::string text = "a";
  while (text.size() < 2 * kFileKindBytes) text += "\xe2\x82\xac";  // so that no character ends at kFileKindBytes
  EXPECT_THAT(Refusal(text), HasSubstr("text that begins with 'a\xe2\x82\xac"));
}

}  // namespace
}  // namespace longhaul
