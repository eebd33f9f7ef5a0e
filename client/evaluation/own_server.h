#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/evaluation/child_process.h"
#include "client/evaluation/interrupt.h"

namespace longhaul {

// A longhaul-server of our own on a free port of this machine, which ends with the object and with this process.
class OwnServer {
 public:
  // `program`: empty looks beside this program (../server/ in a build tree, then the same folder), then in PATH. Waits
  // until the server serves; the error holds the end of its log.
  static absl::StatusOr<std::unique_ptr<OwnServer>> Start(const std::string& program, const std::string& model,
                                                          const std::vector<std::string>& flags,
                                                          const Interrupt& interrupt);
  ~OwnServer();

  const std::string& target() const { return target_; }

  // If it has ended by itself: how, and the end of its log. Else empty.
  std::string Obituary();

 private:
  OwnServer() = default;
  absl::Status WaitUntilServing(const Interrupt& interrupt);

  std::string folder_, target_;
  std::unique_ptr<ChildProcess> process_;
};

}  // namespace longhaul
