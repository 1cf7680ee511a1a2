// `data tasks`: problems with checkable answers as JSONL.
#pragma once

#include "cli/commands.h"

namespace um {

void add_data_tasks(CLI::App& family, Globals& globals);

}  // namespace um
