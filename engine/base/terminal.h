#pragma once

#include <cstdio>
#include <string>
#include <string_view>

// What a standard stream, stdout or stderr, is written to.
namespace longhaul {

bool IsTerminal(FILE* stream);

// A terminal that can write over its line and erase it: $TERM names one other than "dumb".
bool CanRewriteLine(FILE* stream);

// CanRewriteLine, and $NO_COLOR is not set or empty.
bool HasColours(FILE* stream);

// Text of a file, a client or a server, for `stream`: on a terminal Printable, so that it is one line and drives
// nothing; elsewhere as it is.
std::string ForTerminal(FILE* stream, std::string_view text);

// As ForTerminal, but line breaks and tabs stay.
std::string TextForTerminal(FILE* stream, std::string_view text);

}  // namespace longhaul
