// The tables of filters: see jinja_filter in jinja_runtime.h.
#pragma once

#include <string_view>
#include <unordered_map>
#include <vector>

#include "text/jinja_runtime.h"

namespace um {

struct JinjaFilter {
  JinjaValue (*run)(JinjaContext&, const JinjaValue&, const JinjaArguments&);
  std::vector<std::string_view> parameters = {};
  bool any_arguments = false;
};
using JinjaFilters = std::unordered_map<std::string_view, JinjaFilter>;

/// Of texts and numbers, and of lists and dicts.
const JinjaFilters& jinja_text_filters();
const JinjaFilters& jinja_list_filters();

}  // namespace um
