// JSON from outside whose objects keep their order, as schemas and tools need it.
#pragma once

#include <nlohmann/json.hpp>
#include <span>
#include <string_view>

#include "core/json.h"

namespace um {

/// As parse_json(); the keys of an object keep the order of the text. To look one up takes time
/// linear in their number. An integer that no 64 bits hold becomes the nearest float; below
/// `exact`, fields of the outermost object, it is an Error; but where its path has one of `digits`
/// in it ("[0].n" or "a.b[2]"; "" is in all), it becomes a text of its digits.
nlohmann::ordered_json parse_ordered_json(std::string_view text, std::string_view where,
                                          const JsonLimits& limits = {},
                                          std::span<const std::string_view> exact = {},
                                          std::span<const std::string_view> digits = {});

}  // namespace um
