// What a model has to write to call tools, in its own form, as a grammar that holds it to that.
#pragma once

#include <vector>

#include "engine/grammar/schema.h"
#include "server/call_form.h"
#include "server/request.h"

namespace um {

/// The calls that `choice` allows (`parallel`: several). `begun`: the token that opens calls has
/// come, and one that closes them, where there is one, ends what is held.
JsonForm call_rules(const CallForm& form, const std::vector<Tool>& tools, const ToolChoice& choice,
                    bool parallel, bool begun);

}  // namespace um
