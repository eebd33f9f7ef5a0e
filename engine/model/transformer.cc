#include "engine/model/transformer.h"
