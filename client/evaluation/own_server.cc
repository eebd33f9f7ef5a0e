#include "client/evaluation/own_server.h"

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "client/client.h"

namespace longhaul {
namespace {

namespace fs = std::filesystem;

std::string FindServer() {
  std::error_code error;
  const fs::path own = fs::read_symlink("/proc/self/exe", error).parent_path();
  for (const fs::path& candidate : {own / ".." / "server" / "longhaul-server", own / "longhaul-server"}) {
    if (access(candidate.c_str(), X_OK) == 0) return candidate.lexically_normal();
  }
  return "longhaul-server";
}

std::string LastLines(const std::string& path) {
  constexpr size_t kMaxBytes = 2000;
  std::ifstream file(path);
  std::string text{std::istreambuf_iterator<char>(file), {}};
  if (text.size() > kMaxBytes) text = "..." + text.substr(text.size() - kMaxBytes);
  return text;
}

}  // namespace

absl::StatusOr<std::unique_ptr<OwnServer>> OwnServer::Start(const std::string& program, const std::string& model,
                                                            const std::vector<std::string>& flags,
                                                            const Interrupt& interrupt) {
  for (const std::string& flag : flags) {
    const std::string name = std::vector<std::string>(absl::StrSplit(flag, '='))[0];
    if (name == "--model" || name == "--listen" || name == "--port-file") {
      return absl::InvalidArgumentError(absl::StrCat(name, ": not allowed after --; evaluate sets it itself"));
    }
  }
  std::unique_ptr<OwnServer> server(new OwnServer);
  std::string folder = (fs::temp_directory_path() / "longhaul-evaluate.XXXXXX").string();
  if (mkdtemp(folder.data()) == nullptr) {
    return absl::UnavailableError(absl::StrCat("cannot make a folder in ", fs::temp_directory_path().string()));
  }
  server->folder_ = folder;
  std::vector<std::string> arguments = {program.empty() ? FindServer() : program,
                                        "--model",
                                        model,
                                        "--listen",
                                        "127.0.0.1:0",
                                        "--port-file",
                                        folder + "/port"};
  arguments.insert(arguments.end(), flags.begin(), flags.end());
  auto process = ChildProcess::Start(arguments, folder + "/log");
  if (!process.ok()) return process.status();
  server->process_ = *std::move(process);
  const absl::Status status = server->WaitUntilServing(interrupt);
  if (!status.ok()) return status;
  return server;
}

OwnServer::~OwnServer() {
  process_.reset();
  std::error_code error;
  if (!folder_.empty()) fs::remove_all(folder_, error);
}

absl::Status OwnServer::WaitUntilServing(const Interrupt& interrupt) {
  std::unique_ptr<Client> client;
  for (;; std::this_thread::sleep_for(std::chrono::milliseconds(50))) {
    if (interrupt.requested()) return absl::CancelledError("stopped while the server was starting");
    if (const std::string obituary = Obituary(); !obituary.empty()) {
      const bool wrong_flag = process_->ExitCode() == 2;
      return wrong_flag ? absl::InvalidArgumentError(obituary) : absl::InternalError(obituary);
    }
    int port = 0;
    if (client == nullptr && std::ifstream(folder_ + "/port") >> port) {
      target_ = absl::StrCat("127.0.0.1:", port);
      client = std::make_unique<Client>(target_);
    }
    if (client == nullptr) continue;
    const auto model = client->Model({});
    if (model.ok()) return absl::OkStatus();
    if (!absl::IsUnavailable(model.status())) return model.status();
  }
}

std::string OwnServer::Obituary() {
  const std::optional<int> code = process_->ExitCode();
  if (!code.has_value()) return "";
  if (*code == 127) return "longhaul-server was not found beside longhaul or in PATH; --server FILE says where it is";
  return absl::StrCat("longhaul-server ended with ", *code, ":\n", LastLines(folder_ + "/log"));
}

}  // namespace longhaul
