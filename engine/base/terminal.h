#pragma once

#include <cstdio>
#include <string>
#include <string_view>

// What stdout or stderr is connected to.
namespace longhaul {

// Whether `stream`, stdout or stderr, is a terminal.
bool IsTerminal(FILE* stream);

// Whether it is a terminal that can erase and rewrite a line: $TERM is set and not "dumb".
bool CanRewriteLine(FILE* stream);

// Whether it is a terminal that shows colours: CanRewriteLine, and $NO_COLOR is not set or empty.
bool HasColours(FILE* stream);

// Text of a file, a client or a server, for `stream`: Printable on a terminal, so that it is one line without escape
// codes; unchanged elsewhere.
std::string ForTerminal(FILE* stream, std::string_view text);

// As ForTerminal, but line breaks and tabs stay.
std::string TextForTerminal(FILE* stream, std::string_view text);

}  // namespace longhaul
