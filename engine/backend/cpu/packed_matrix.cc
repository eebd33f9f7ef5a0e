#include "engine/backend/cpu/packed_matrix.h"
