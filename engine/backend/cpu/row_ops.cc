#include "engine/backend/cpu/row_ops.h"
