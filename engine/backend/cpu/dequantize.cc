#include "engine/backend/cpu/dequantize.h"
