#include "engine/event_stream.h"
