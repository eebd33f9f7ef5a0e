#include "engine/model/gguf.h"
