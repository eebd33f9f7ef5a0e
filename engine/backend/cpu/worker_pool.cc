#include "engine/backend/cpu/worker_pool.h"
