// See call_form.h. The syntaxes: docs/templates.md.
#include "server/call_form.h"

#include <string>

#include "core/json.h"
#include "core/ordered_json.h"

namespace um {
namespace {

using Piece = JsonForm::Piece;

const std::string kSpace(1, kFormSpace);

/// {"name": …, KEY: …}
Piece object_piece(const std::string& name, const std::string& key) {
  return {.before = "{" + kSpace + "\"name\":" + kSpace + to_text(name) + "," + kSpace + "\"" +
                    key + "\":" + kSpace,
          .schema = {},
          .after = kSpace + "}"};
}

Piece deepseek_piece(const std::string& name, const ChatMarks& marks) {
  const auto mark = [&](size_t i, std::string_view text) {
    return marks.inner.empty() ? std::string(text) : form_mark(i);
  };
  const std::string begin = mark(0, kCallBegin), separator = mark(1, kCallSeparator),
                    end = mark(2, kCallEnd);
  if (!marks.code_block) return {.before = begin + name + separator, .schema = {}, .after = end};
  return {.before = begin + "function" + separator + name + "\n```json\n",
          .schema = {},
          .after = "\n```" + end};
}

/// A schema of a call's arguments, which are always an object.
std::string arguments_schema(const Tool& tool) {
  auto schema = parse_ordered_json(tool.parameters, "parameters of " + quote(tool.name));
  if (!schema.contains("type")) schema["type"] = "object";
  return schema.dump();
}

}  // namespace

JsonForm call_form(const std::vector<Tool>& tools, const ToolChoice& choice, bool parallel,
                   const ChatMarks& marks) {
  const CallSyntax syntax = marks.calls;
  JsonForm form{.open = marks.tool_open_text,
                .repeat = parallel && choice.kind != ToolChoice::kNamed,
                .close = marks.tool_close_text};
  for (const Tool& tool : tools) {
    if (choice.kind == ToolChoice::kNamed && tool.name != choice.name) continue;
    Piece piece =
        syntax == CallSyntax::kDeepSeek
            ? deepseek_piece(tool.name, marks)
            : object_piece(tool.name, syntax == CallSyntax::kLlama ? "parameters" : "arguments");
    piece.schema = arguments_schema(tool);
    piece.name = tool.name;
    form.pieces.push_back(std::move(piece));
  }
  switch (syntax) {
    case CallSyntax::kList:
      form.open += kSpace + "[" + kSpace;
      form.between = "," + kSpace;
      form.close = kSpace + "]" + form.close;
      break;
    case CallSyntax::kObject:
      form.open += kSpace;
      form.between = kSpace + form.close + kSpace + form.open;
      form.close = kSpace + form.close;
      form.repeat = form.repeat && !marks.tool_open_text.empty();
      break;
    case CallSyntax::kLlama:
      form.open = kSpace;
      form.repeat = false;
      break;
    case CallSyntax::kDeepSeek:
      if (marks.code_block) form.between = "\n";
      break;
  }
  return form;
}

}  // namespace um
