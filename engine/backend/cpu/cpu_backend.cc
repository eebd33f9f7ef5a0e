#include "engine/backend/cpu/cpu_backend.h"
