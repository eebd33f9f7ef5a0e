#include "client/io/files.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <unistd.h>

#include <array>
#include <cerrno>  // and program_invocation_short_name
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iterator>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "engine/base/printable.h"

namespace longhaul {

absl::StatusOr<std::string> ReadDescriptor(int descriptor, const std::string& name) {
  if (isatty(descriptor) != 0) {
    std::fprintf(stderr, "%s: reading %s from the terminal; Ctrl-D on an empty line ends it\n",
                 program_invocation_short_name, name.c_str());
  }
  std::string bytes;
  std::array<char, 1 << 16> part;
  for (;;) {
    const ssize_t n = read(descriptor, part.data(), part.size());
    if (n == 0) return bytes;
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return absl::InvalidArgumentError(absl::StrCat("cannot read ", name, ": ", std::strerror(errno)));
    bytes.append(part.data(), static_cast<size_t>(n));
    if (std::ssize(bytes) > kMaxInputBytes) {
      return absl::InvalidArgumentError(
          absl::StrCat(name, " is larger than ", kMaxInputBytes >> 20, " MiB, the most that is read"));
    }
  }
}

absl::StatusOr<std::string> ReadFile(const std::string& flag, const std::string& path) {
  if (path == "-") return ReadDescriptor(STDIN_FILENO, "standard input");
  const std::string name = absl::StrCat(flag, " ", Printable(path));
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return absl::InvalidArgumentError(absl::StrCat("cannot read ", name, ": ", std::strerror(errno)));
  absl::StatusOr<std::string> bytes = ReadDescriptor(file, name);
  close(file);
  return bytes;
}

absl::Status WriteFile(const char* flag, const std::string& path, const std::string& bytes) {
  const auto failed = [&](absl::StatusCode code) {
    return absl::Status(code, absl::StrCat(flag, ": cannot write ", Printable(path), ": ", std::strerror(errno)));
  };
  std::error_code error;
  const bool is_new = !std::filesystem::exists(path, error);
  // A device, a pipe or the target of a link is written to in place, not replaced.
  const bool replaces = is_new || std::filesystem::is_regular_file(std::filesystem::symlink_status(path, error));
  const std::string partial = replaces ? path + ".partial" : path;
  const int file = open(partial.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (file < 0) return failed(absl::StatusCode::kInvalidArgument);
  size_t written = 0;
  while (written < bytes.size()) {
    const ssize_t n = write(file, bytes.data() + written, bytes.size() - written);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) break;
    written += static_cast<size_t>(n);
  }
  bool ok = written == bytes.size();
  if (replaces) ok = ok && fsync(file) == 0 && std::rename(partial.c_str(), path.c_str()) == 0;
  const absl::Status status = ok ? absl::OkStatus() : failed(absl::StatusCode::kInternal);
  close(file);
  if (!ok && replaces) unlink(partial.c_str());
  return status;
}

std::string Sha256(const std::string& bytes) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned int size = 0;
  EVP_Digest(bytes.data(), bytes.size(), digest.data(), &size, EVP_sha256(), nullptr);
  return absl::BytesToHexString({reinterpret_cast<const char*>(digest.data()), size});
}

std::filesystem::path CacheFolder() {
  const auto variable = [](const char* name) {
    const char* const value = std::getenv(name);
    return std::filesystem::path(value == nullptr ? "" : value);
  };
  if (const auto cache = variable("LONGHAUL_CACHE"); !cache.empty()) return cache;
  if (const auto cache = variable("XDG_CACHE_HOME"); !cache.empty()) return cache / "longhaul";
  return variable("HOME") / ".cache" / "longhaul";
}

}  // namespace longhaul
