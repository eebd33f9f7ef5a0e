#include "engine/model/tensor_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>

#include "engine/model/gguf/gguf.h"
#include "engine/model/model_file.h"
#include "engine/model/single_runner.h"
#include "tests/support/gguf_writer.h"

namespace longhaul {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using Bytes = std::vector<std::byte>;
namespace fs = std::filesystem;

const StopCondition kNever;

std::unique_ptr<Checkpoint> Parse(const Bytes& bytes) {
  return *ReadGguf(SourceOf(bytes, "m.gguf"));
}

// Three tensors of a megabyte and a half each, of many pieces, and a small one.
Bytes LargeFile() {
  GgufWriter writer;
  writer.alignment = 64;
  for (const char* name : {"a", "b", "c"}) writer.SetRandomTensor(name, {1000, 375}, TensorType::kF32, 1);
  writer.SetTensor("d", {3}, 0, std::string(12, '\7'));
  return writer.Build();
}

StoredTensor Stored(const Checkpoint& file, const char* name) {
  const TensorEntry& tensor = *file.Find(name);
  StoredTensor stored;
  stored.tensor = {.name = name,
                   .type = tensor.type,
                   .rows = tensor.elements / tensor.dims[0],
                   .columns = tensor.dims[0],
                   .data = nullptr,
                   .owner = nullptr,
                   .row_order = {}};
  stored.offset = tensor.offset;
  return stored;
}

bool Equal(const HostTensor& tensor, const Bytes& file, const StoredTensor& stored) {
  const auto bytes = static_cast<size_t>(tensor.rows * RowBytes(tensor.type, tensor.columns));
  return std::ranges::equal(std::span(tensor.data, bytes),
                            std::span(file).subspan(static_cast<size_t>(stored.offset), bytes));
}

std::string DigestOf(const Bytes& bytes) {
  const auto file = Parse(bytes);
  return *TensorReader(*file, 1, kNever).Finish();
}

absl::StatusOr<std::unique_ptr<SingleRunner>> Load(const ModelFile& model, const StopCondition& stopped = {},
                                                   int threads = 1) {
  SingleRunnerOptions options;
  options.backend.threads = threads;
  options.kv_cache_bytes = 1 << 20;
  options.limits = {.max_tokens = 1, .max_logit_rows = 1};
  return SingleRunner::Create(model, options, stopped);
}

// A model in a file that was written an hour ago.
class ModelOnDisk : public ::testing::Test {
 protected:
  ModelOnDisk() : path_(::testing::TempDir() + "longhaul_tensor_reader." + std::to_string(getpid())) {
    const Bytes bytes = TinyModel().Build();
    std::ofstream(path_, std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    fs::last_write_time(path_, fs::file_time_type::clock::now() - std::chrono::hours(1));
  }
  ~ModelOnDisk() override { fs::remove(path_); }

  const std::string path_;
};

TEST(TensorReaderTest, TheDigestIsTheSameWhateverIsReadFirst) {
  const Bytes bytes = LargeFile();
  const auto file = Parse(bytes);
  const StoredTensor a = Stored(*file, "a"), b = Stored(*file, "b"), c = Stored(*file, "c"), d = Stored(*file, "d");
  const std::string want = DigestOf(bytes);
  EXPECT_EQ(want.size(), 32u);
  for (const int threads : {1, 2, 5}) {
    TensorReader backwards(*file, threads, kNever), together(*file, threads, kNever);
    for (const StoredTensor* stored : {&d, &c, &b, &a}) {
      const auto read = backwards.Read({stored, 1});
      ASSERT_TRUE(read.ok()) << read.status();
      EXPECT_TRUE(Equal(read->front(), bytes, *stored));
    }
    EXPECT_EQ(*backwards.Finish(), want);
    const auto read = together.Read(std::vector{c, d, a});  // nobody asks for b
    ASSERT_TRUE(read.ok()) << read.status();
    EXPECT_TRUE(Equal((*read)[0], bytes, c) && Equal((*read)[1], bytes, d) && Equal((*read)[2], bytes, a));
    EXPECT_EQ(*together.Finish(), want);
  }
}

// The digests of a file, of it with each byte changed that leaves the header sound, and of it with one more.
void ExpectEveryByteToCount(const Bytes& good) {
  std::set<std::string> digests{DigestOf(good)};
  size_t parsed = 0;
  for (size_t i = 0; i < good.size(); ++i) {
    Bytes other = good;
    other[i] ^= std::byte{1};
    const auto file = ReadGguf(SourceOf(other, "m.gguf"));
    if (!file.ok()) continue;
    ++parsed;
    EXPECT_TRUE(digests.insert(*TensorReader(**file, 1, kNever).Finish()).second) << "byte " << i;
  }
  EXPECT_GT(parsed, good.size() / 2);
  Bytes longer = good;
  longer.push_back(std::byte{0});
  EXPECT_TRUE(digests.insert(DigestOf(longer)).second);
}

TEST(TensorReaderTest, EveryByteOfTheFileCounts) {
  ExpectEveryByteToCount(SmallestModel().Build());
  GgufWriter padded;  // what lies between two tensors counts, too
  padded.alignment = 256;
  for (const char* name : {"a", "b", "c"}) padded.SetRandomTensor(name, {3}, TensorType::kF32, 1);
  ExpectEveryByteToCount(padded.Build());
}

// Fingerprints are kept beside results: they must not change from one version to the next by accident.
TEST(TensorReaderTest, TheDigestOfAFileStaysWhatItIs) {
  GgufWriter writer;
  writer.SetString("word", "tree");
  writer.SetTensor("w", {256, 256}, 0, std::string(1 << 18, '\1'));
  EXPECT_EQ(DigestOf(writer.Build()), "3a991367f64edd5212473b333c493968");
}

TEST(TensorReaderTest, BytesThatSomebodyHoldsAreNotOverwritten) {
  const Bytes bytes = LargeFile();
  const auto file = Parse(bytes);
  const StoredTensor a = Stored(*file, "a"), b = Stored(*file, "b"), c = Stored(*file, "c");
  HostTensor held;
  TensorReader reader(*file, 1, kNever);
  {
    const auto first = reader.Read({&a, 1});
    ASSERT_TRUE(first.ok());
    held = first->front();
  }
  const std::byte* second = nullptr;
  {
    const auto read = reader.Read({&b, 1});
    ASSERT_TRUE(read.ok());
    EXPECT_TRUE(Equal(held, bytes, a));
    second = read->front().data;
  }
  EXPECT_EQ(reader.Read({&c, 1})->front().data, second) << "memory that nobody holds is used again";
}

TEST(TensorReaderTest, StopsBetweenTwoPieces) {
  const Bytes bytes = LargeFile();
  const auto file = Parse(bytes);
  const StoredTensor a = Stored(*file, "a");
  int asked = 0;
  const StopCondition third = [&asked] { return ++asked == 3; };
  TensorReader reader(*file, 1, third);
  EXPECT_EQ(reader.Read({&a, 1}).status().code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(asked, 3);
  asked = 0;
  EXPECT_EQ(TensorReader(*file, 1, third).Finish().status().code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(asked, 3);
}

TEST(TensorReaderTest, LoadingStopsAtAnyTensor) {
  const Bytes bytes = TinyModel().Build();
  const auto model = LoadModelFile(Parse(bytes));
  ASSERT_TRUE(model.ok()) << model.status();
  int most = 0, asked = 0;
  ASSERT_TRUE(Load(*model, [&most] { return ++most < 0; }).ok());
  EXPECT_GE(most, static_cast<int>(model->checkpoint->tensors().size()));
  for (int n = 1; n <= most; ++n, asked = 0) {
    EXPECT_EQ(Load(*model, [&asked, n] { return ++asked == n; }).status().code(), absl::StatusCode::kCancelled);
    EXPECT_EQ(asked, n);
  }
}

TEST(TensorReaderTest, ModelsThatDifferOnlyInWeightsHaveOtherDigests) {
  TinyModelOptions options;
  const Bytes one = TinyModel(options).Build();
  options.seed = 2;
  const Bytes two = TinyModel(options).Build();
  ASSERT_EQ(one.size(), two.size());
  const auto digest = [](const Bytes& bytes, int threads) {
    return (*Load(*LoadModelFile(Parse(bytes)), {}, threads))->info().file_digest;
  };
  EXPECT_EQ(digest(one, 1), digest(one, 3));
  EXPECT_EQ(digest(one, 1), DigestOf(one));
  EXPECT_NE(digest(one, 1), digest(two, 1));
}

TEST_F(ModelOnDisk, IsNeitherOpenNorMappedOnceItIsLoaded) {
  absl::StatusOr<ModelFile> model = LoadModelFile(path_);
  ASSERT_TRUE(model.ok()) << model.status();
  const auto is_open = [this] {
    return std::ranges::any_of(fs::directory_iterator("/proc/self/fd"), [this](const fs::directory_entry& entry) {
      std::error_code gone;
      return fs::read_symlink(entry, gone) == path_;
    });
  };
  EXPECT_TRUE(is_open());
  const auto runner = Load(*model);
  ASSERT_TRUE(runner.ok()) << runner.status();
  model = absl::CancelledError();
  EXPECT_FALSE(is_open());
  std::ifstream maps("/proc/self/maps");
  EXPECT_THAT(std::string(std::istreambuf_iterator<char>(maps), {}), Not(HasSubstr(path_)));
}

TEST_F(ModelOnDisk, CutShortWhileItIsReadIsRefused) {
  const auto model = LoadModelFile(path_);
  ASSERT_TRUE(model.ok()) << model.status();
  int asked = 0;
  const auto runner = Load(*model, [&] {
    if (++asked == 3) fs::resize_file(path_, fs::file_size(path_) / 2);
    return false;
  });
  EXPECT_EQ(runner.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(runner.status().message()), HasSubstr(path_ + ": changed while it was read"));
}

TEST_F(ModelOnDisk, WrittenToWhileItIsReadIsRefused) {
  const auto model = LoadModelFile(path_);
  ASSERT_TRUE(model.ok()) << model.status();
  int asked = 0;
  const auto runner = Load(*model, [&] {
    if (++asked == 3) std::fstream(path_, std::ios::in | std::ios::out | std::ios::binary) << "GGUF";  // the same bytes
    return false;
  });
  EXPECT_EQ(runner.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(runner.status().message()), HasSubstr("somebody wrote to it"));
}

}  // namespace
}  // namespace longhaul
