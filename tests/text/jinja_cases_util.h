// Templates for the tests of the Jinja interpreter: small ones, one feature each, and larger ones
// written for this project in the manner of well-known models.
#pragma once

#include <string>
#include <vector>

#include "text/jinja.h"

namespace um {

/// What the small templates may read, as JSON.
extern const char* const kJinjaVariables;
std::vector<std::string> jinja_cases();
/// What random templates may read.
extern const char* const kJinjaRandomVariables;

/// Chat templates by manner.
extern const char* const kChatMlTemplate;
extern const char* const kQwenTemplate;
extern const char* const kLlamaTemplate;
extern const char* const kDeepSeekTemplate;

JinjaTemplate::Variables jinja_variables(const std::string& json, bool outside = true);

}  // namespace um
