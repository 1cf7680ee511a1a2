// Fields of requests that the APIs have and that change nothing here: only their types are checked.
#pragma once

#include "core/json.h"

namespace um {

/// Whose fields a body may have.
enum class Api { kChat, kCompletions, kResponses, kMessages, kTexts };

/// ApiError 400 for the first field of no effect that has another type than its API gives it. Null
/// counts as absent, as in all fields; what holds the field may be of another type and is then not
/// looked into.
void check_ignored_fields(const Json& body, Api api);

}  // namespace um
