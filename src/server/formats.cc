// See formats.h.
#include "server/formats.h"

#include <algorithm>
#include <utility>

#include "server/api_error.h"

namespace um {
namespace {

using Ordered = nlohmann::ordered_json;

void add_id(std::vector<int32_t>& ids, int32_t id) {
  if (id >= 0 && std::find(ids.begin(), ids.end(), id) == ids.end()) ids.push_back(id);
}

std::unique_ptr<ConstraintFactory> make_factory(const Tokenizer& tokenizer,
                                                const std::vector<int32_t>& ends) {
  if (ends.empty()) return nullptr;
  return std::make_unique<ConstraintFactory>(tokenizer, ends);
}

}  // namespace

std::string calls_schema(const std::vector<Tool>& tools, const ToolChoice& choice, bool parallel,
                         CallSyntax syntax) {
  const std::string key = syntax == CallSyntax::kLlama ? "parameters" : "arguments";
  Ordered any = Ordered::array(), definitions = Ordered::object();
  for (const Tool& tool : tools) {
    if (choice.kind == ToolChoice::kNamed && tool.name != choice.name) continue;
    Ordered arguments = Ordered::parse(tool.parameters);
    if (!arguments.contains("type")) arguments["type"] = "object";
    // References are from the root, so what they refer to must stand there.
    for (const char* key : {"$defs", "definitions"}) {
      if (!arguments.contains(key)) continue;
      for (const auto& [name, value] : arguments[key].items()) definitions[key][name] = value;
      arguments.erase(key);
    }
    any.push_back({{"type", "object"},
                   {"properties", {{"name", {{"const", tool.name}}}, {key, arguments}}},
                   {"required", {"name", key}},
                   {"additionalProperties", false}});
  }
  Ordered schema = {{"type", "array"}, {"minItems", 1}};
  const Ordered one = any.size() == 1 ? any[0] : Ordered{{"anyOf", any}};
  if (syntax != CallSyntax::kList) {
    schema = one;
    schema.update(definitions);
    return schema.dump();
  }
  if (!parallel || choice.kind == ToolChoice::kNamed) schema["maxItems"] = 1;
  schema["items"] = one;
  schema.update(definitions);
  return schema.dump();
}

Formats::Formats(const Tokenizer& tokenizer, const ChatMarks& marks, std::vector<int32_t> eos)
    : marks_(marks), eos_(std::move(eos)), chat_eos_(eos_) {
  for (const int32_t id : marks.turn_closes) add_id(chat_eos_, id);
  text_ = make_factory(tokenizer, eos_);
  chat_ = make_factory(tokenizer, chat_eos_);
  const bool json = marks.calls == CallSyntax::kList || marks.calls == CallSyntax::kObject;
  if (json && marks.tool_open >= 0 && marks.tool_close >= 0)
    calls_ = make_factory(tokenizer, {marks.tool_close});
}

std::unique_ptr<Constraint> Formats::of_format(ConstraintFactory& factory,
                                               const FormatSpec& format) {
  try {
    switch (format.kind) {
      case FormatSpec::kJsonObject:
        return factory.json_object();
      case FormatSpec::kJsonSchema:
        return factory.json_schema(format.schema);
      case FormatSpec::kRegex:
        return factory.regex(format.regex);
      case FormatSpec::kChoice:
        return factory.choice(format.choices);
      case FormatSpec::kText:
        break;
    }
  } catch (const Error& error) {
    throw ApiError(400, error.what(), "response_format");
  }
  return nullptr;
}

/// What holds the calls to the tools' schemas. Where the model may choose, a schema that we cannot
/// express holds it to nothing; where it must call, that is an error.
std::unique_ptr<Constraint> Formats::of_tools(const ChatRequest& request) {
  const ToolChoice& choice = request.tool_choice;
  if (choice.kind == ToolChoice::kNone || request.tools.empty()) return nullptr;
  const bool must = choice.kind != ToolChoice::kAuto;
  if (calls_ == nullptr) {
    if (must)
      bad_field("tool_choice",
                "calls cannot be required of this model: its tokenizer has no marks "
                "for them, or they are not written in JSON alone");
    return nullptr;
  }
  try {
    return calls_->json_schema(
        calls_schema(request.tools, choice, request.parallel_tool_calls, marks_.calls));
  } catch (const Error& error) {
    if (must) throw ApiError(400, error.what(), "tools");
    return nullptr;
  }
}

std::unique_ptr<Constraint> Formats::of_chat(const ChatRequest& request, bool thinking) {
  const FormatSpec& format = request.params.format;
  AnswerRules rules{.marks = marks_,
                    .eos = chat_eos_,
                    .thinking = request.mode != ThinkMode::kFast,
                    .begun = thinking,
                    .thinking_budget = request.thinking_budget};
  if (format.kind != FormatSpec::kText && chat_ == nullptr)
    bad_field("response_format", "this model has no token that ends an answer");
  if (format.kind != FormatSpec::kText) rules.content = of_format(*chat_, format);
  const bool must = request.tool_choice.kind == ToolChoice::kRequired ||
                    request.tool_choice.kind == ToolChoice::kNamed;
  if (must && marks_.calls == CallSyntax::kLlama && chat_ != nullptr) {
    // Llama's call is the whole answer.
    const std::string schema =
        calls_schema(request.tools, request.tool_choice, false, marks_.calls);
    rules.content = of_format(*chat_, {.kind = FormatSpec::kJsonSchema, .schema = schema});
  } else {
    rules.calls = of_tools(request);
    rules.must_call = must;
  }
  return make_answer_constraint(std::move(rules));
}

std::unique_ptr<Constraint> Formats::of_completion(const GenerationParams& params) {
  if (params.format.kind == FormatSpec::kText) return nullptr;
  if (text_ == nullptr) bad_field("response_format", "this model has no token that ends a text");
  return of_format(*text_, params.format);
}

}  // namespace um
