#include "server/metrics/process_metrics.h"

#include <sys/resource.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <system_error>

namespace longhaul {
namespace {

using prometheus::MetricType;

// Fields of /proc/self/stat (man 5 proc), by their number there.
class Stat {
 public:
  Stat() {
    std::ifstream file("/proc/self/stat");
    std::string line;
    std::getline(file, line);
    // The second field, the name, may hold anything but ends with the last parenthesis.
    std::istringstream rest(line.substr(line.rfind(')') + 1));
    fields_.assign(std::istream_iterator<std::string>(rest), {});
  }

  bool known() const { return !fields_.empty(); }
  // REQUIRES: number >= 3; 0 when there is none.
  double Field(size_t number) const {
    return number - 3 < fields_.size() ? std::strtod(fields_[number - 3].c_str(), nullptr) : 0;
  }

 private:
  std::vector<std::string> fields_;
};

double TicksPerSecond() {
  return static_cast<double>(sysconf(_SC_CLK_TCK));
}

double BootTime() {
  std::ifstream file("/proc/stat");
  std::string word;
  double seconds = 0;
  while (file >> word) {
    if (word == "btime") {
      file >> seconds;
      break;
    }
  }
  return seconds;
}

double OpenFiles() {
  std::error_code error;
  double n = 0;
  for (std::filesystem::directory_iterator it("/proc/self/fd", error), end; !error && it != end; it.increment(error))
    ++n;
  return n > 0 ? n - 1 : 0;  // without the descriptor of the listing itself
}

double Limit(__rlimit_resource resource) {
  rlimit limit{};
  getrlimit(resource, &limit);
  return static_cast<double>(limit.rlim_cur);
}

}  // namespace

void CollectProcess(MetricFamilies& families) {
  const Stat stat;
  if (!stat.known()) return;  // no descriptor is left; counters at 0 would look like a restart
  static const double start_time = BootTime() + stat.Field(22) / TicksPerSecond();
  const auto add = [&](const char* name, const char* help, MetricType type, double value) {
    FamilyWriter family(families, name, help, type);
    if (type == MetricType::Counter) {
      family.Counter({}, value);
    } else {
      family.Gauge({}, value);
    }
  };
  add("process_cpu_seconds_total", "User and system CPU time spent, in seconds.", MetricType::Counter,
      (stat.Field(14) + stat.Field(15)) / TicksPerSecond());
  if (const double files = OpenFiles(); files > 0) {
    add("process_open_fds", "Open file descriptors.", MetricType::Gauge, files);
  }
  add("process_max_fds", "File descriptors that may be open.", MetricType::Gauge, Limit(RLIMIT_NOFILE));
  add("process_virtual_memory_bytes", "Virtual memory size in bytes.", MetricType::Gauge, stat.Field(23));
  add("process_virtual_memory_max_bytes", "Virtual memory that may be used, in bytes.", MetricType::Gauge,
      Limit(RLIMIT_AS));
  add("process_resident_memory_bytes", "Resident memory size in bytes.", MetricType::Gauge,
      stat.Field(24) * static_cast<double>(sysconf(_SC_PAGE_SIZE)));
  add("process_threads", "Threads of the process.", MetricType::Gauge, stat.Field(20));
  add("process_start_time_seconds", "When the process started, in seconds since 1970.", MetricType::Gauge, start_time);
}

}  // namespace longhaul
