// The syntax tree of chat templates, as the parser builds it and the interpreter walks it.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/jinja_value.h"

namespace um {

struct JinjaExpr {
  enum Kind {
    kLiteral,  // value
    kName,     // text
    kList,     // children
    kTuple,    // children
    kDict,     // children: key, value, key, value …
    kUnary,    // text: - + not
    kBinary,   // text: the operator
    kAnd,      // children: two; likewise kOr
    kOr,
    kCompare,    // children: operands; operators between them in `operators`
    kIf,         // children: then, condition, else (may be missing)
    kAttribute,  // children[0].text
    kIndex,      // children[0][children[1]]
    kSlice,      // children[0][start:stop:step], missing ones null
    kCall,       // children[0](arguments)
    kFilter,     // children[0] | text(arguments)
    kTest        // children[0] is text(arguments); negated by kUnary
  } kind = kLiteral;
  int line = 0;
  int depth = 1;  // of the tree below
  std::string text = {};
  JinjaValue value = {};
  std::vector<std::unique_ptr<JinjaExpr>> children = {};
  std::vector<std::string> operators = {};
  std::vector<std::unique_ptr<JinjaExpr>> arguments = {};
  std::vector<std::pair<std::string, std::unique_ptr<JinjaExpr>>> named = {};
  std::unique_ptr<JinjaExpr> more_arguments = {}, more_named = {};  // f(*these, **these)
};
using JinjaExprPtr = std::unique_ptr<JinjaExpr>;

struct JinjaNode {
  enum Kind {
    kText,         // text
    kOutput,       // expr
    kFor,          // targets[0] in expr (if condition): body, else: other; perhaps recursive
    kIf,           // expr: body, other
    kSet,          // targets[0] = expr
    kSetBlock,     // targets[0] = body, through the filters of expr if there are any
    kMacro,        // text(names with defaults): body
    kCallBlock,    // the call in expr, which gets body as the macro caller(names with defaults)
    kFilterBlock,  // body through the filters of expr
    kBlock,        // body in a scope of its own, with targets = defaults (generation, with)
    kBreak,
    kContinue
  } kind = kText;
  int line = 0;
  bool recursive = false;  // kFor: the body may call it, as loop(items)
  // kMacro, kCallBlock: the body reads `caller`, `varargs`, `kwargs`
  bool takes_caller = false, takes_more = false, takes_named = false;
  std::string text = {};
  std::vector<std::string> names = {};
  // Names, namespaces' fields (kAttribute), or tuples of them.
  std::vector<JinjaExprPtr> targets = {};
  JinjaExprPtr expr = {}, condition = {};
  std::vector<JinjaExprPtr> defaults =
      {};  // kMacro, kCallBlock: by name, null for none; kBlock: values
  std::vector<std::unique_ptr<JinjaNode>> body = {}, other = {};
};
using JinjaNodes = std::vector<std::unique_ptr<JinjaNode>>;

/// In the filters of a block: the name of what the block wrote. No template can name it.
inline constexpr std::string_view kJinjaBody = " body";

/// Parses a template with the white space rules of Hugging Face's `apply_chat_template`
/// (trim_blocks, lstrip_blocks). Size, nesting and nodes are limited. Throws Error
/// `NAME: line N: …`.
JinjaNodes parse_jinja(std::string_view source, const std::string& name);

}  // namespace um
