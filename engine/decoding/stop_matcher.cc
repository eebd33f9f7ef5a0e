#include "engine/decoding/stop_matcher.h"
