#include "engine/model/byte_source.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"

namespace longhaul {
namespace {

// Of an open file; closes it.
class Descriptor {
 public:
  explicit Descriptor(int number) : number_(number) {}
  Descriptor(Descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  ~Descriptor() {
    if (number_ >= 0) close(number_);
  }

  int number() const { return number_; }

 private:
  int number_;
};

absl::StatusOr<struct stat> Examine(const Descriptor& file, const std::string& path) {
  struct stat info {};
  if (fstat(file.number(), &info) != 0) return absl::ErrnoToStatus(errno, absl::StrCat(path, ": cannot be examined"));
  return info;
}

// What is no regular file, and what to do about it.
const char* NameKind(mode_t mode) {
  if (S_ISDIR(mode)) return "a folder: name the GGUF file in it";
  if (S_ISFIFO(mode)) return "a pipe, which cannot be read out of order: write the model into a file first";
  if (S_ISSOCK(mode)) return "a socket: write the model into a file first";
  return "a device: write the model into a file first";
}

class FileSource final : public ByteSource {
 public:
  FileSource(Descriptor file, std::string path, const struct stat& info)
      : ByteSource(std::move(path), info.st_size), file_(std::move(file)), written_(info.st_mtim) {}

  absl::Status Read(int64_t offset, std::span<std::byte> to) const override {
    while (!to.empty()) {
      const ssize_t n = pread(file_.number(), to.data(), to.size(), offset);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return absl::ErrnoToStatus(errno, absl::StrCat(name(), ": cannot be read at byte ", offset));
      if (n == 0) {
        LH_RETURN_IF_ERROR(CheckUnchanged());
        return Changed(absl::StrCat("it ended before byte ", offset));
      }
      offset += n;
      to = to.subspan(static_cast<size_t>(n));
    }
    return absl::OkStatus();
  }

  absl::Status CheckUnchanged() const override {
    LH_ASSIGN_OR_RETURN(const struct stat now, Examine(file_, name()));
    if (now.st_size != size()) return Changed(absl::StrCat("it has ", now.st_size, " bytes, and had ", size()));
    const bool same = now.st_mtim.tv_sec == written_.tv_sec && now.st_mtim.tv_nsec == written_.tv_nsec;
    return same ? absl::OkStatus() : Changed("somebody wrote to it");
  }

 private:
  absl::Status Changed(const std::string& how) const {
    return absl::FailedPreconditionError(absl::StrCat(
        name(), ": changed while it was read: ", how,
        ". Start again when it is complete, and replace a model by renaming a new file, never by writing into it"));
  }

  const Descriptor file_;
  const timespec written_;  // the last time, when it was opened
};

class MemorySource final : public ByteSource {
 public:
  MemorySource(std::span<const std::byte> bytes, std::string name)
      : ByteSource(std::move(name), static_cast<int64_t>(bytes.size())), bytes_(bytes) {}

  absl::Status Read(int64_t offset, std::span<std::byte> to) const override {
    if (!to.empty()) std::memcpy(to.data(), bytes_.data() + offset, to.size());
    return absl::OkStatus();
  }
  absl::Status CheckUnchanged() const override { return absl::OkStatus(); }

 private:
  const std::span<const std::byte> bytes_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<ByteSource>> OpenFile(const std::string& path) {
  // Without O_NONBLOCK, open() of a named pipe would block until it has a writer.
  Descriptor file(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (file.number() < 0) return absl::ErrnoToStatus(errno, absl::StrCat(path, ": cannot be opened"));
  LH_ASSIGN_OR_RETURN(const struct stat info, Examine(file, path));
  if (!S_ISREG(info.st_mode)) return absl::InvalidArgumentError(absl::StrCat(path, ": is ", NameKind(info.st_mode)));
  if (info.st_size == 0) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": is empty: perhaps a download that failed"));
  }
  return std::make_unique<FileSource>(std::move(file), path, info);
}

std::unique_ptr<ByteSource> SourceOf(std::span<const std::byte> bytes, std::string name) {
  return std::make_unique<MemorySource>(bytes, std::move(name));
}

}  // namespace longhaul
