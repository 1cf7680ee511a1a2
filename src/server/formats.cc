// See formats.h.
#include "server/formats.h"

#include <algorithm>
#include <utility>

#include "server/api_error.h"
#include "server/call_form.h"

namespace um {
namespace {

void add_id(std::vector<int32_t>& ids, int32_t id) {
  if (id >= 0 && std::find(ids.begin(), ids.end(), id) == ids.end()) ids.push_back(id);
}

bool is_forced(const ToolChoice& choice) {
  return choice.kind == ToolChoice::kRequired || choice.kind == ToolChoice::kNamed;
}

}  // namespace

Formats::Formats(const Tokenizer& tokenizer, const ChatMarks& marks, std::vector<int32_t> eos)
    : marks_(marks), eos_(std::move(eos)), chat_eos_(eos_) {
  for (const int32_t id : marks.turn_closes) add_id(chat_eos_, id);
  // What ends the calls: their mark, or where there is none the end of the answer.
  std::vector<int32_t> call_ends;
  if (marks.tool_open >= 0 && marks.calls != CallSyntax::kLlama)
    call_ends = marks.tool_close >= 0 ? std::vector{marks.tool_close} : chat_eos_;
  const ConstraintFactory* first = nullptr;  // they share the sorted vocabulary
  const auto make = [&](const std::vector<int32_t>& ends) {
    std::unique_ptr<ConstraintFactory> factory;
    if (ends.empty()) return factory;
    factory = first != nullptr ? std::make_unique<ConstraintFactory>(*first, ends)
                               : std::make_unique<ConstraintFactory>(tokenizer, ends, marks.inner);
    first = factory.get();
    return factory;
  };
  chat_ = make(chat_eos_);
  text_ = make(eos_);
  calls_ = make(call_ends);
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
std::unique_ptr<Constraint> Formats::of_calls(ConstraintFactory& factory,
                                              const ChatRequest& request) {
  const ToolChoice& choice = request.tool_choice;
  try {
    return factory.json_form(call_form(request.tools, choice, request.parallel_tool_calls, marks_));
  } catch (const Error& error) {
    if (is_forced(choice)) throw ApiError(400, error.what(), "tools");
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
  const bool must = is_forced(request.tool_choice);
  const bool formed = format.kind != FormatSpec::kText && !must;  // a call has no text to form
  if (formed && chat_ == nullptr)
    bad_field("response_format", "this model has no token that ends an answer");
  if (formed) rules.content = of_format(*chat_, format);
  const bool may = !request.tools.empty() && request.tool_choice.kind != ToolChoice::kNone;
  if (may && calls_ != nullptr) {
    rules.calls = of_calls(*calls_, request);
    rules.must_call = must;
  } else if (must) {  // the calls are the whole answer
    const bool known = marks_.calls == CallSyntax::kLlama || !marks_.tool_open_text.empty();
    if (!known || chat_ == nullptr)
      bad_field("tool_choice",
                "calls cannot be required of this model: its tokenizer has no marks for them");
    rules.content = of_calls(*chat_, request);
  }
  return make_answer_constraint(std::move(rules));
}

std::unique_ptr<Constraint> Formats::of_completion(const GenerationParams& params) {
  if (params.format.kind == FormatSpec::kText) return nullptr;
  if (text_ == nullptr) bad_field("response_format", "this model has no token that ends a text");
  return of_format(*text_, params.format);
}

}  // namespace um
