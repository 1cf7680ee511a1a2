// See formats.h.
#include "server/formats.h"

#include <algorithm>
#include <utility>

#include "server/api_error.h"
#include "server/call_rules.h"

namespace um {
namespace {

void add_id(std::vector<int32_t>& ids, int32_t id) {
  if (id >= 0 && std::find(ids.begin(), ids.end(), id) == ids.end()) ids.push_back(id);
}

}  // namespace

Formats::Formats(const Tokenizer& tokenizer, const ChatMarks& marks, std::vector<int32_t> eos)
    : marks_(marks), eos_(std::move(eos)), chat_eos_(eos_) {
  for (const int32_t id : marks.turn_closes) add_id(chat_eos_, id);
  // What ends the calls: their mark, or where there is none the end of the answer.
  const CallForm& calls = marks.calls;
  call_open_ = calls.token_of(calls.open.substr(0, mark_text(0).size()));
  call_close_ = calls.token_of(calls.close);
  std::vector<int32_t> call_ends, inner;
  if (call_open_ >= 0) call_ends = call_close_ >= 0 ? std::vector{call_close_} : chat_eos_;
  for (const CallForm::Mark& mark : calls.marks) inner.push_back(mark.id);
  const ConstraintFactory* first = nullptr;  // they share the sorted vocabulary
  const auto make = [&](const std::vector<int32_t>& ends) {
    std::unique_ptr<ConstraintFactory> factory;
    if (ends.empty()) return factory;
    factory = first != nullptr ? std::make_unique<ConstraintFactory>(*first, ends)
                               : std::make_unique<ConstraintFactory>(tokenizer, ends, inner);
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
    throw ApiError(400, error.what(), format.field);
  }
  return nullptr;
}

/// What holds the calls to the tools' schemas. Where the model may choose, a schema that we cannot
/// express holds it to nothing; where it must call, that is an error.
std::unique_ptr<Constraint> Formats::of_calls(ConstraintFactory& factory,
                                              const ChatRequest& request, bool begun) {
  const ToolChoice& choice = request.tool_choice;
  try {
    return factory.json_form(
        call_rules(marks_.calls, request.tools, choice, request.parallel_tool_calls, begun));
  } catch (const Error& error) {
    if (choice.forced()) throw ApiError(400, error.what(), "tools");
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
  const bool must = request.tool_choice.forced();
  const bool formed = format.kind != FormatSpec::kText && !must;  // a call has no text to form
  if (formed && chat_ == nullptr)
    bad_field(format.field, "this model has no token that ends an answer");
  if (formed) rules.content = of_format(*chat_, format);
  const bool may = !request.tools.empty() && request.tool_choice.kind != ToolChoice::kNone;
  if (may && !marks_.calls.readable())
    bad_field("tools", "this model's chat template writes calls in a form that is not known here");
  if (must && chat_ == nullptr)
    bad_field("tool_choice", "this model has no token that ends an answer");
  if (must) {  // the calls are the whole answer
    rules.content = of_calls(*chat_, request, false);
  } else if (may && calls_ != nullptr) {
    rules.calls = of_calls(*calls_, request, true);
    rules.call_open = call_open_;
    rules.call_close = call_close_;
  }
  return make_answer_constraint(std::move(rules));
}

std::unique_ptr<Constraint> Formats::of_completion(const GenerationParams& params) {
  if (params.format.kind == FormatSpec::kText) return nullptr;
  if (text_ == nullptr) bad_field(params.format.field, "this model has no token that ends a text");
  return of_format(*text_, params.format);
}

}  // namespace um
