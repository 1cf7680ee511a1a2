// The ids of requests, answers and their parts.
#pragma once

#include <string>
#include <string_view>

namespace um {

/// A new id: PREFIX and 24 random letters and digits.
std::string random_id(std::string_view prefix);

/// Whether a client may give its request this id: 1 to 128 letters, digits and -._~:/+=@.
bool is_request_id(std::string_view text);

}  // namespace um
