// JSON from outside whose objects keep their order, as schemas and tools need it.
#pragma once

#include <nlohmann/json.hpp>
#include <string_view>

#include "core/json.h"

namespace um {

/// As parse_json(); the keys of an object keep the order of the text. To look one up takes time
/// linear in their number.
nlohmann::ordered_json parse_ordered_json(std::string_view text, std::string_view where,
                                          const JsonLimits& limits = {});

}  // namespace um
