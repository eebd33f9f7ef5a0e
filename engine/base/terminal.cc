#include "engine/base/terminal.h"

#include <unistd.h>

#include <cstdlib>

#include "engine/base/printable.h"

namespace longhaul {
namespace {

std::string_view Environment(const char* name) {
  const char* const value = std::getenv(name);
  return value == nullptr ? "" : value;
}

}  // namespace

bool IsTerminal(FILE* stream) {
  // By number: the stream of BeginStandardOutput has no descriptor.
  return isatty(stream == stdout ? STDOUT_FILENO : STDERR_FILENO) != 0;
}

bool CanRewriteLine(FILE* stream) {
  const std::string_view kind = Environment("TERM");
  return IsTerminal(stream) && !kind.empty() && kind != "dumb";
}

bool HasColours(FILE* stream) {
  return CanRewriteLine(stream) && Environment("NO_COLOR").empty();
}

std::string ForTerminal(FILE* stream, std::string_view text) {
  return IsTerminal(stream) ? Printable(text) : std::string(text);
}

std::string TextForTerminal(FILE* stream, std::string_view text) {
  return IsTerminal(stream) ? PrintableText(text) : std::string(text);
}

}  // namespace longhaul
