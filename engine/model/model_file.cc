#include "engine/model/model_file.h"
