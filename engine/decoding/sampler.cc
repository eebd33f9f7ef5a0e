#include "engine/decoding/sampler.h"
