// Which form of calls a model knows, read from what its chat template makes of a call.
#pragma once

#include "server/call_form.h"
#include "text/chat_template.h"

namespace um {

/// The form that the template writes a call of a test conversation in; where it writes none, the
/// form whose marks stand in its source. A template that reads no tools is told the form that it
/// writes calls in, or the one of Hermes. Of kind kNone where the template has tools, but in a form
/// that we do not know.
CallForm find_call_form(const ChatTemplate& chat_template);

}  // namespace um
