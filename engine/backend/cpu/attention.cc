#include "engine/backend/cpu/attention.h"
