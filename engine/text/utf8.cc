#include "engine/text/utf8.h"
