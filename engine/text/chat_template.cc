#include "engine/text/chat_template.h"
