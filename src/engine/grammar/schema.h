// JSON Schema (draft 2020-12, the part that can be written left to right) as a Grammar. Where a
// keyword cannot be honoured exactly, fewer texts are allowed, never a wrong one;
// docs/constraints.md has the list.
#pragma once

#include <string_view>

#include "engine/grammar/grammar.h"

namespace um {

/// Every text of the grammar is JSON that meets the schema, with properties in the schema's order.
/// Throws UsageError `schema #/PATH: ...` for a keyword that is not supported or damaged.
Grammar schema_grammar(std::string_view schema);

}  // namespace um
