#include "engine/model/model_runner.h"
