// JSON from outside whose objects keep their order, as schemas and tools need it.
#pragma once

#include <nlohmann/json.hpp>
#include <span>
#include <string_view>

#include "core/json.h"

namespace um {

/// As parse_json(); the keys of an object keep the order of the text. To look one up takes time
/// linear in their number. `exact`: the fields of the outermost object in which an integer that no
/// 64 bits hold is an Error, "*" for all there is; elsewhere it becomes the nearest float.
nlohmann::ordered_json parse_ordered_json(std::string_view text, std::string_view where,
                                          const JsonLimits& limits = {},
                                          std::span<const std::string_view> exact = {});

}  // namespace um
