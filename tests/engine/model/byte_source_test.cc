#include "engine/model/byte_source.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>

namespace longhaul {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
namespace fs = std::filesystem;

// A file of ten bytes that was written an hour ago.
class ByteSourceTest : public ::testing::Test {
 protected:
  ByteSourceTest() : path_(::testing::TempDir() + "longhaul_byte_source." + std::to_string(getpid())) {
    fs::remove_all(path_);
    std::ofstream(path_) << "0123456789";
    fs::last_write_time(path_, fs::file_time_type::clock::now() - std::chrono::hours(1));
  }
  ~ByteSourceTest() override { fs::remove_all(path_); }

  std::string ErrorOfOpening() const {
    const auto file = OpenFile(path_);
    return file.ok() ? "opened" : std::string(file.status().message());
  }

  const std::string path_;
};

TEST_F(ByteSourceTest, ReadsAnyPart) {
  const auto file = OpenFile(path_);
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ((*file)->size(), 10);
  EXPECT_EQ((*file)->name(), path_);
  std::string part(3, ' ');
  EXPECT_TRUE((*file)->Read(7, std::as_writable_bytes(std::span(part))).ok());
  EXPECT_EQ(part, "789");
  EXPECT_TRUE((*file)->CheckUnchanged().ok());
}

TEST_F(ByteSourceTest, AFileCutShortIsAnError) {
  const auto file = OpenFile(path_);
  ASSERT_TRUE(file.ok()) << file.status();
  fs::resize_file(path_, 8);
  std::string part(3, ' ');
  const absl::Status read = (*file)->Read(7, std::as_writable_bytes(std::span(part)));
  EXPECT_EQ(read.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(read.message()), HasSubstr("changed while it was read: it has 8 bytes, and had 10"));
  EXPECT_THAT(std::string((*file)->CheckUnchanged().message()), HasSubstr("it has 8 bytes, and had 10"));
}

TEST_F(ByteSourceTest, SeesThatSomebodyWroteToIt) {
  const auto file = OpenFile(path_);
  ASSERT_TRUE(file.ok()) << file.status();
  std::fstream(path_, std::ios::in | std::ios::out) << "x";
  EXPECT_EQ((*file)->CheckUnchanged().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string((*file)->CheckUnchanged().message()), HasSubstr("somebody wrote to it"));
}

TEST_F(ByteSourceTest, AFileThatIsReplacedByAnotherStaysTheOldOne) {
  const auto file = OpenFile(path_);
  ASSERT_TRUE(file.ok()) << file.status();
  std::ofstream(path_ + ".new") << "another, longer text";
  fs::rename(path_ + ".new", path_);
  std::string part(10, ' ');
  EXPECT_TRUE((*file)->Read(0, std::as_writable_bytes(std::span(part))).ok());
  EXPECT_EQ(part, "0123456789");
  EXPECT_TRUE((*file)->CheckUnchanged().ok());
}

TEST_F(ByteSourceTest, NamesWhatIsNoFile) {
  EXPECT_EQ(OpenFile("/no/such/file.gguf").status().code(), absl::StatusCode::kNotFound);
  fs::resize_file(path_, 0);
  EXPECT_THAT(ErrorOfOpening(), HasSubstr(path_ + ": is empty"));
  fs::remove(path_);
  fs::create_directory(path_);
  EXPECT_THAT(ErrorOfOpening(), HasSubstr(path_ + ": is a folder: name the GGUF file in it"));
  fs::remove(path_);
  ASSERT_EQ(mkfifo(path_.c_str(), 0600), 0);  // nobody ever writes to it
  EXPECT_THAT(ErrorOfOpening(), AllOf(HasSubstr("is a pipe"), HasSubstr("write the model into a file first")));
  EXPECT_THAT(std::string(OpenFile("/dev/zero").status().message()), HasSubstr("/dev/zero: is a device"));
}

}  // namespace
}  // namespace longhaul
