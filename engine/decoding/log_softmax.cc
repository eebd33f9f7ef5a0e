#include "engine/decoding/log_softmax.h"
