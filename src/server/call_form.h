// What a model has to write to call tools, in its own syntax, as a form that holds it to that.
#pragma once

#include <vector>

#include "engine/grammar/schema.h"
#include "server/chat_marks.h"
#include "server/request.h"

namespace um {

/// The calls that `choice` allows (`parallel`: several where the syntax has a list). Marks around
/// them that are tokens are left out; those that are text are part of the form.
JsonForm call_form(const std::vector<Tool>& tools, const ToolChoice& choice, bool parallel,
                   const ChatMarks& marks);

}  // namespace um
