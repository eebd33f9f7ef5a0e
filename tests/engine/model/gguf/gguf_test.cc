#include "engine/model/gguf/gguf.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <span>

#include "tests/support/gguf_writer.h"
#include "tests/support/test_model.h"

namespace longhaul {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

using Bytes = std::vector<std::byte>;

std::string ErrorOf(const Bytes& bytes) {
  const auto file = ReadGguf(SourceOf(bytes, "m.gguf"));
  if (file.ok()) return "loaded";
  EXPECT_EQ(file.status().code(), absl::StatusCode::kInvalidArgument);
  return std::string(file.status().message());
}

// The bytes with a number written over those at `at`.
template <typename T>
Bytes With(Bytes bytes, size_t at, T value) {
  std::memcpy(bytes.data() + at, &value, sizeof(value));
  return bytes;
}

Bytes Cut(Bytes bytes, size_t size) {
  bytes.resize(size);
  return bytes;
}

// Where the bytes hold `text`, and after it.
size_t After(const Bytes& bytes, std::string_view text) {
  const std::string_view all(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  return all.find(text) + text.size();
}

constexpr size_t kVersionAt = 4, kTensorsAt = 8, kValuesAt = 16;

// One tensor of 2 x 3 floats and a few values.
GgufWriter SmallFile() {
  GgufWriter writer;
  writer.SetUint32("count", 7);
  writer.SetString("word", "tree");
  writer.SetTensor("weights", {2, 3}, 0, std::string(24, '\1'));
  return writer;
}

TEST(GgufTest, ReadsValuesOfEveryType) {
  GgufWriter writer;
  const auto raw = [](auto value) { return std::string(reinterpret_cast<const char*>(&value), sizeof(value)); };
  writer.SetRaw("u8", 0, raw(uint8_t{200}));
  writer.SetRaw("i8", 1, raw(int8_t{-100}));
  writer.SetRaw("u16", 2, raw(uint16_t{60000}));
  writer.SetRaw("i16", 3, raw(int16_t{-30000}));
  writer.SetUint32("u32", 4000000000);
  writer.SetInt32("i32", -2000000000);
  writer.SetFloat32("f32", 1.5f);
  writer.SetBool("bool", true);
  writer.SetString("string", "tree");
  writer.SetUint64("u64", uint64_t{1} << 62);
  writer.SetUint64("huge", ~uint64_t{0});
  writer.SetRaw("i64", 11, raw(int64_t{-5}));
  writer.SetRaw("f64", 12, raw(0.1));
  writer.SetStrings("strings", {"a", "", "a longer string that needs memory of its own"});
  writer.SetInt32s("i32s", {1, -2, 3});
  writer.SetRaw("u64s", 9, raw(uint32_t{10}) + raw(uint64_t{1}) + raw(uint64_t{9}));
  const Bytes bytes = writer.Build();
  const auto file = ReadGguf(SourceOf(bytes, "m.gguf"));
  ASSERT_TRUE(file.ok()) << file.status();

  EXPECT_EQ(*(*file)->Integer("u8"), 200);
  EXPECT_EQ(*(*file)->Integer("i8"), -100);
  EXPECT_EQ(*(*file)->Integer("u16"), 60000);
  EXPECT_EQ(*(*file)->Integer("i16"), -30000);
  EXPECT_EQ(*(*file)->Integer("u32"), 4000000000);
  EXPECT_EQ(*(*file)->Integer("i32"), -2000000000);
  EXPECT_EQ(*(*file)->Integer("u64"), int64_t{1} << 62);
  EXPECT_EQ(*(*file)->Integer("i64"), -5);
  EXPECT_EQ((*file)->OptionalNumber("f32")->value(), 1.5);
  EXPECT_EQ((*file)->OptionalNumber("f64")->value(), 0.1);
  EXPECT_EQ((*file)->OptionalNumber("i32")->value(), -2e9);
  EXPECT_EQ((*file)->OptionalBool("bool")->value(), true);
  EXPECT_EQ(*(*file)->String("string"), "tree");
  EXPECT_THAT(**(*file)->Strings("strings"), ElementsAre("a", "", "a longer string that needs memory of its own"));
  EXPECT_THAT((*file)->OptionalIntegers("i32s")->value(), ElementsAre(1, -2, 3));
  EXPECT_THAT((*file)->OptionalIntegers("u64s")->value(), ElementsAre(9));
  EXPECT_FALSE((*file)->OptionalString("missing")->has_value());
  EXPECT_FALSE((*file)->OptionalIntegers("missing")->has_value());

  const auto message = [](const auto& result) { return std::string(result.status().message()); };
  EXPECT_EQ(message((*file)->Integer("missing")), "m.gguf: key 'missing' is missing, expected an integer");
  EXPECT_EQ(message((*file)->Integer("f32")), "m.gguf: key 'f32' holds a number, expected an integer");
  EXPECT_EQ(message((*file)->String("i32s")), "m.gguf: key 'i32s' holds an array of integers, expected a string");
  EXPECT_EQ(message((*file)->Strings("string")), "m.gguf: key 'string' holds a string, expected an array of strings");
  EXPECT_EQ(message((*file)->Integer("huge")),
            "m.gguf: key 'huge' holds 18446744073709551615, expected at most 2^63 - 1");
}

TEST(GgufTest, ReadsTensorsOfVersions2And3) {
  for (const uint32_t version : {2u, 3u}) {
    GgufWriter writer = SmallFile();
    writer.version = version;
    writer.alignment = 64;
    const Bytes bytes = writer.Build();
    const auto file = ReadGguf(SourceOf(bytes, "m.gguf"));
    ASSERT_TRUE(file.ok()) << file.status();
    const TensorEntry* tensor = (*file)->Find("weights");
    ASSERT_NE(tensor, nullptr);
    EXPECT_THAT(tensor->dims, ElementsAre(2, 3));
    EXPECT_EQ(tensor->elements, 6);
    EXPECT_EQ(tensor->bytes, 24);
    EXPECT_EQ((*file)->header().size() % 64, 0u);
    EXPECT_EQ(tensor->offset, static_cast<int64_t>((*file)->header().size()));
    EXPECT_TRUE(std::ranges::equal((*file)->header(), std::span(bytes).first((*file)->header().size())));
    EXPECT_EQ((*file)->Find("other"), nullptr);
  }
}

TEST(GgufTest, RefusesABrokenPreamble) {
  const Bytes good = SmallFile().Build();
  ASSERT_EQ(ErrorOf(good), "loaded");
  EXPECT_THAT(ErrorOf(With(good, 0, 'g')), HasSubstr("m.gguf: not a GGUF file"));
  EXPECT_THAT(ErrorOf(Cut(good, 3)), HasSubstr("not a GGUF file"));
  EXPECT_THAT(ErrorOf(With(good, kVersionAt, uint32_t{1})),
              HasSubstr("GGUF version 1 is not supported: 2 and 3 are; convert the model again"));
  EXPECT_THAT(ErrorOf(With(good, kVersionAt, uint32_t{4})), HasSubstr("GGUF version 4 is not supported"));
  EXPECT_THAT(ErrorOf(With(good, kVersionAt, uint32_t{0x03000000})), HasSubstr("big-endian"));
  for (const uint64_t count : {uint64_t{65537}, uint64_t{1} << 40, ~uint64_t{0}}) {
    EXPECT_THAT(ErrorOf(With(good, kValuesAt, count)), HasSubstr("metadata entries"));
  }
  EXPECT_THAT(ErrorOf(With(good, kValuesAt, uint64_t{1000})),
              HasSubstr("declares 1000 metadata entries, which need at least 13000 bytes"));
  EXPECT_THAT(ErrorOf(With(good, kTensorsAt, uint64_t{1} << 60)), HasSubstr("tensors: at most"));
  EXPECT_THAT(ErrorOf(With(good, kTensorsAt, uint64_t{100})), HasSubstr("declares 100 tensors"));
}

TEST(GgufTest, RefusesEveryTruncation) {
  const Bytes good = SmallFile().Build();
  for (size_t size = 0; size < good.size(); ++size) EXPECT_NE(ErrorOf(Cut(good, size)), "loaded") << size;
  EXPECT_THAT(ErrorOf(Cut(good, good.size() - 1)),
              AllOf(HasSubstr("truncated: tensor 'weights' needs bytes"), HasSubstr("the file has")));
}

TEST(GgufTest, RefusesBrokenValues) {
  const Bytes good = SmallFile().Build();
  const size_t type_at = After(good, "count");
  EXPECT_THAT(ErrorOf(With(good, type_at, uint32_t{13})), HasSubstr("key 'count' has value type 13"));
  EXPECT_THAT(ErrorOf(With(good, type_at - 13, ~uint64_t{0})), HasSubstr("truncated"));  // the key's length
  EXPECT_THAT(ErrorOf(With(good, type_at - 13, uint64_t{0})), HasSubstr("key of 0 bytes"));
  EXPECT_THAT(ErrorOf(With(good, After(good, "word") + 4, ~uint64_t{0} - 3)), HasSubstr("in key 'word'"));

  GgufWriter writer = SmallFile();
  writer.SetRaw("flag", 7, "\2");
  EXPECT_THAT(ErrorOf(writer.Build()), HasSubstr("key 'flag' holds a bool that is neither 0 nor 1"));
  writer.RemoveKey("flag");
  writer.SetInt32s("list", {1, 2});
  const Bytes list = writer.Build();
  const size_t element_at = After(list, "list") + 4;
  EXPECT_THAT(ErrorOf(With(list, element_at, uint32_t{9})), HasSubstr("key 'list' is an array of element type 9"));
  EXPECT_THAT(ErrorOf(With(list, element_at + 4, uint64_t{1} << 61)), HasSubstr("key 'list' declares"));
  EXPECT_THAT(ErrorOf(With(list, element_at + 4, ~uint64_t{0})), HasSubstr("elements of at least 4 bytes"));

  GgufWriter twice = SmallFile();
  twice.SetUint32("cOunt", 8);
  EXPECT_THAT(ErrorOf(With(twice.Build(), After(twice.Build(), "cO") - 1, 'o')), HasSubstr("'count' stands twice"));

  GgufWriter named = SmallFile();
  named.SetRaw("line\n\x1b[1m", 77, "");
  EXPECT_THAT(ErrorOf(named.Build()), HasSubstr("'line\\n\\x1b[1m'"));
}

TEST(GgufTest, RefusesAbsurdAlignment) {
  for (const uint32_t alignment : {0u, 1u, 4u, 24u, 1u << 20}) {
    GgufWriter writer = SmallFile();
    writer.SetUint32("general.alignment", alignment);
    EXPECT_THAT(ErrorOf(writer.Build()), HasSubstr("'general.alignment' holds " + std::to_string(alignment)));
  }
  GgufWriter writer = SmallFile();
  writer.SetString("general.alignment", "32");
  EXPECT_THAT(ErrorOf(writer.Build()), HasSubstr("'general.alignment' holds another type"));
}

TEST(GgufTest, RefusesBrokenTensors) {
  const auto error_of = [](std::vector<uint64_t> dims, uint32_t type) {
    GgufWriter writer;
    writer.SetTensor("w", std::move(dims), type, std::string(4096, '\1'));
    return ErrorOf(writer.Build());
  };
  EXPECT_THAT(error_of({}, 0), HasSubstr("tensor 'w' has 0 dimensions: expected 1 to 4"));
  EXPECT_THAT(error_of({1, 1, 1, 1, 1}, 0), HasSubstr("has 5 dimensions"));
  EXPECT_THAT(error_of({2, 0}, 0), HasSubstr("dimension 1 is 0"));
  EXPECT_THAT(error_of({~uint64_t{0}}, 0), HasSubstr("dimension 0 is 18446744073709551615"));
  EXPECT_THAT(error_of({uint64_t{1} << 32, uint64_t{1} << 32}, 0), HasSubstr("dimension 1"));
  EXPECT_THAT(error_of({uint64_t{1} << 62}, 0), HasSubstr("lies past any file"));
  EXPECT_THAT(error_of({1025}, 0), HasSubstr("truncated: tensor 'w' needs bytes 64 to 4164, the file has 4160"));
  EXPECT_THAT(error_of({33}, 8), HasSubstr("rows of 33 elements, expected a multiple of 32 (the block of Q8_0)"));
  EXPECT_THAT(error_of({128}, 12), HasSubstr("expected a multiple of 256 (the block of Q4_K)"));
  EXPECT_THAT(error_of({256}, 16), AllOf(HasSubstr("tensor 'w' has type 16, which is not supported: F32 (0), F16 (1)"),
                                         HasSubstr("IQ4_NL (20), BF16 (30) are")));

  const Bytes good = SmallFile().Build();
  const size_t offset_at = After(good, "weights") + 4 + 16 + 4;
  EXPECT_THAT(ErrorOf(With(good, offset_at, uint64_t{1})), HasSubstr("offset 1: expected a multiple of the alignment"));
  EXPECT_THAT(ErrorOf(With(good, offset_at, uint64_t{32})), HasSubstr("truncated: tensor 'weights'"));
  EXPECT_THAT(ErrorOf(With(good, offset_at, ~uint64_t{31})), HasSubstr("lies past any file"));

  GgufWriter two = SmallFile();
  two.SetTensor("weightS", {2, 3}, 0, std::string(24, '\1'));
  const Bytes pair = two.Build();
  EXPECT_EQ(ErrorOf(pair), "loaded");
  EXPECT_THAT(ErrorOf(With(pair, After(pair, "weightS") - 1, 's')), HasSubstr("'weights' stands twice in the file"));
  EXPECT_THAT(ErrorOf(With(pair, After(pair, "weightS") + 24, uint64_t{0})), HasSubstr("overlap"));
}

TEST(GgufTest, ReadsAHeaderOfSeveralMegabytes) {
  GgufWriter writer = SmallFile();
  std::vector<std::string> strings(30000, std::string(100, 'x'));
  strings.back() = "the last one";
  writer.SetStrings("many", strings);
  const Bytes bytes = writer.Build();
  const auto file = ReadGguf(SourceOf(bytes, "m.gguf"));
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(**(*file)->Strings("many"), strings);
  EXPECT_THAT(ErrorOf(Cut(bytes, 2 << 20)), HasSubstr("truncated: the file ends after 2097152 bytes, in key 'many'"));
}

TEST(GgufTest, OpensTheDefaultModel) {
  const auto file = OpenCheckpoint(TestModelPath());
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ((*file)->file_bytes(), 98362432);
  EXPECT_EQ((*file)->tensors().size(), 272u);
  EXPECT_EQ((*(*file)->Strings("tokenizer.ggml.tokens"))->size(), 49152u);
  EXPECT_EQ((*(*file)->Strings("tokenizer.ggml.merges"))->size(), 48900u);
  EXPECT_EQ((*file)->Find("token_embd.weight")->type, TensorType::kQ8_0);
}

}  // namespace
}  // namespace longhaul
