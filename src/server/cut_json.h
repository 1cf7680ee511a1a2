// JSON text that was cut off: what of it is finished.
#pragma once

#include <string_view>

#include "core/json.h"

namespace um {

/// The object that the text of a JSON object was cut off in, as far as it was finished: without the
/// value that was being written. Empty if the text is no object.
Json finished_members(std::string_view text);

}  // namespace um
