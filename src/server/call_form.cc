// See call_form.h. The table of forms: docs/templates.md.
#include "server/call_form.h"

#include <algorithm>
#include <array>
#include <cctype>

#include "core/error.h"
#include "text/chat_content.h"

namespace um {
namespace {

using Kind = CallForm::Kind;

/// Objects between marks.
CallForm objects(std::string name, std::string open, std::string close, bool list, bool many) {
  CallForm form{.name = std::move(name), .kind = Kind::kObject};
  form.open = std::move(open), form.close = std::move(close);
  form.list = list, form.many = many;
  form.between = list ? ", " : "\n";
  return form;
}

/// NAME between `begin` and `middle`, then an object.
CallForm named(std::string name, std::string open, std::string close, std::string begin,
               std::string middle, std::string end) {
  CallForm form{.name = std::move(name), .kind = Kind::kNamed};
  form.open = std::move(open), form.close = std::move(close), form.many = true;
  form.begin = std::move(begin), form.middle = std::move(middle), form.end = std::move(end);
  return form;
}

/// The marks of arguments that kTagged has.
struct Tags {
  std::string key_open, key_close, value_close, text_key_close = {};
};

CallForm tagged(CallForm form, Tags tags) {
  form.kind = Kind::kTagged;
  form.key_open = std::move(tags.key_open);
  form.key_close = std::move(tags.key_close);
  form.value_close = std::move(tags.value_close);
  form.text_key_close = std::move(tags.text_key_close);
  return form;
}

/// Each call in a pair of marks of its own, with this between two of them.
CallForm each(CallForm form, std::string between) {
  form.many = false;
  form.between = std::move(between);
  return form;
}

CallForm with_between(CallForm form, std::string between) {
  form.between = std::move(between);
  return form;
}

/// Arguments as they stand in a program: KEY key_close LITERAL, with `between` between them.
CallForm literal(CallForm form, std::string key_close, std::string between, std::string quote) {
  form.kind = Kind::kLiteral;
  form.key_close = std::move(key_close);
  form.value_close = std::move(between);
  form.quote = std::move(quote);
  return form;
}

/// DeepSeek V3.2 and V4.
CallForm dsml(std::string name, const std::string& section) {
  return tagged(named(std::move(name), "<｜DSML｜" + section + ">\n", "</｜DSML｜" + section + ">",
                      "<｜DSML｜invoke name=\"", "\">\n", "</｜DSML｜invoke>\n"),
                {"<｜DSML｜parameter name=\"", "\" string=\"false\">", "</｜DSML｜parameter>\n",
                 "\" string=\"true\">"});
}

std::vector<CallForm> json_forms() {
  std::vector<CallForm> forms = {
      objects("pangu", "[unused11]", "[unused12]", true, true),
      objects("pangu-2", "<|tool_call_start|>", "<|tool_call_end|>", true, true),
      objects("apriel", "<tool_calls>", "</tool_calls>", true, true),
      objects("hermes", "<tool_call>\n", "\n</tool_call>", false, false),
      objects("mistral", "[TOOL_CALLS]", "", true, true),
      objects("minimax-m1", "<tool_calls>\n", "\n</tool_calls>", false, true),
      objects("nemotron", "<TOOLCALL>", "</TOOLCALL>", true, true),
      objects("granite", "<|tool_call|>", "", true, true),
      objects("gigachat", "<|function_call|>", "", false, false),
  };
  CallForm command = objects("command", "<|START_ACTION|>", "<|END_ACTION|>", true, true);
  command.name_key = "tool_name", command.arguments_key = "parameters";
  command.id_key = "tool_call_id";
  CallForm apertus = objects("apertus", "<|tools_prefix|>", "<|tools_suffix|>", true, true);
  apertus.kind = Kind::kKeyed;
  CallForm llama = objects("llama", "", "", false, false);
  llama.arguments_key = "parameters", llama.other_open = "<|python_tag|>", llama.between = "; ";
  CallForm action = objects("command-r", "Action:\n```json\n", "\n```", true, true);
  action.name_key = "tool_name", action.arguments_key = "parameters";
  forms.insert(forms.end(), {command, action, apertus, llama});
  return forms;
}

std::vector<CallForm> named_forms() {
  const std::string begin = "<｜tool▁calls▁begin｜>", end = "<｜tool▁calls▁end｜>";
  return {
      with_between(named("deepseek", begin, end, "<｜tool▁call▁begin｜>function<｜tool▁sep｜>",
                         "\n```json\n", "\n```<｜tool▁call▁end｜>"),
                   "\n"),
      named("deepseek-v3.1", begin, end, "<｜tool▁call▁begin｜>", "<｜tool▁sep｜>",
            "<｜tool▁call▁end｜>"),
      each(named("mistral-v11", "[TOOL_CALLS]", "", "", "[ARGS]", ""), ""),
      each(named("mistral-v11-id", "[TOOL_CALLS]", "", "", "[CALL_ID]\x02[ARGS]", ""), ""),
      named("kimi-k2", "<|tool_calls_section_begin|>", "<|tool_calls_section_end|>",
            "<|tool_call_begin|>functions.", ":\x02<|tool_call_argument_begin|>",
            "<|tool_call_end|>"),
      named("solar", "<|tool_calls|>", "", "<|tool_call:begin|>\x02<|tool_call:name|>",
            "<|tool_call:args|>", "<|tool_call:end|>"),
      each(named("functionary", "", "", "<function=", ">", "</function>"), ""),
  };
}

std::vector<CallForm> tagged_forms() {
  const auto block = [](std::string name, std::string open, std::string close) {
    return named(std::move(name), std::move(open), std::move(close), "<function=", ">\n",
                 "</function>\n");
  };
  const auto glm = [](std::string name, const std::string& line) {
    return each(tagged(named(std::move(name), "<tool_call>", "</tool_call>", "", line, ""),
                       {"<arg_key>", "</arg_key>" + line + "<arg_value>", "</arg_value>" + line}),
                line);
  };
  const std::string hy = ":opensource>";
  CallForm minicpm =
      each(tagged(named("minicpm", "", "", "<function name=\"", "\">", "</function>"),
                  {"<param name=\"", "\">", "</param>"}),
           "\n");
  minicpm.cdata = true;
  const std::string ns = "]<]minimax[>[";
  CallForm minimax = tagged(named("minimax-m3", ns + "<tool_call>\n", ns + "</tool_call>",
                                  ns + "<invoke name=\"", "\">", ns + "</invoke>\n"),
                            {ns + "<", ">", ns + "</\x03>"});
  minimax.item = "item";
  return {
      each(tagged(block("qwen-coder", "<tool_call>\n", "</tool_call>"),
                  {"<parameter=", ">\n", "\n</parameter>\n"}),
           "\n"),
      each(tagged(block("seed", "<seed:tool_call>\n", "</seed:tool_call>"),
                  {"<parameter=", ">", "</parameter>\n"}),
           "\n"),
      minicpm,
      tagged(named("minimax-m2", "<minimax:tool_call>\n", "</minimax:tool_call>", "<invoke name=\"",
                   "\">\n", "</invoke>\n"),
             {"<parameter name=\"", "\">", "</parameter>\n"}),
      minimax,
      dsml("deepseek-v3.2", "function_calls"),
      dsml("deepseek-v4", "tool_calls"),
      glm("glm", "\n"),
      glm("glm-4.7", ""),
      tagged(named("hunyuan", "<tool_calls" + hy + "\n", "</tool_calls" + hy, "<tool_call" + hy,
                   "<tool_sep" + hy + "\n", "</tool_call" + hy + "\n"),
             {"<arg_key" + hy, "</arg_key" + hy + "\n<arg_value" + hy, "</arg_value" + hy + "\n"}),
  };
}

std::vector<CallForm> literal_forms() {
  CallForm python = literal(named("lfm2", "<|tool_call_start|>", "<|tool_call_end|>", "", "(", ")"),
                            "=", ", ", "");
  python.list = true;
  python.between = ", ";
  CallForm gemma =
      literal(each(named("gemma-4", "<|tool_call>", "<tool_call|>", "call:", "{", "}"), ""), ":",
              ",", "<|\"|>");
  gemma.sorted = true;
  return {python, gemma};
}

std::vector<CallForm> all_forms() {
  std::vector<CallForm> forms = tagged_forms();
  for (auto more : {literal_forms(), named_forms(), json_forms()})
    forms.insert(forms.end(), more.begin(), more.end());
  return forms;
}

/// The texts of a form in which marks may stand.
std::array<std::string*, 12> texts(CallForm& form) {
  return {&form.open,           &form.close, &form.other_open, &form.between,   &form.begin,
          &form.middle,         &form.end,   &form.key_open,   &form.key_close, &form.value_close,
          &form.text_key_close, &form.quote};
}

/// Puts `by` in the place of `old`; how often.
size_t replace_all(std::string& text, std::string_view old, std::string_view by) {
  size_t count = 0;
  for (size_t at = 0; (at = text.find(old, at)) != std::string::npos; at += by.size(), ++count)
    text.replace(at, old.size(), by);
  return count;
}

/// Whether a token may be a mark: some tokenizers have tokens of their own for white space.
bool may_be_mark(std::string_view token) {
  return token.find_first_of("<[|]>") != std::string_view::npos ||
         token.find("｜") != std::string_view::npos;
}

// ---- writing ----

std::string value_text(const OrderedJson& value) {
  return value.is_string() ? value.get<std::string>() : json_text(value);
}

bool is_word(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '_' || c >= 0x80;
  });
}

/// A value of kLiteral. JSON is one, too.
std::string literal_text(const CallForm& form, const OrderedJson& value) {
  if (form.quote.empty()) return json_text(value);
  if (value.is_string() && value.get<std::string>().find(form.quote) == std::string::npos)
    return form.quote + value.get<std::string>() + form.quote;
  std::string text;
  const bool object = value.is_object();
  if (!object && !value.is_array()) return json_text(value);
  for (const auto& [key, each] : value.items()) {
    if (!text.empty()) text += form.value_close;
    if (object) text += (is_word(key) ? key : json_text(key)) + form.key_close;
    text += literal_text(form, each);
  }
  return object ? "{" + text + "}" : "[" + text + "]";
}

std::string id_filled(std::string text, std::string_view id) {
  replace_all(text, std::string_view(&kAnyId, 1), id);
  return text;
}

std::string written(const CallForm& form, const Call& call, std::string_view id) {
  const std::string arguments = value_text(call.arguments);
  const OrderedJson fields =
      call.arguments.is_object() ? call.arguments : arguments_object(call.arguments);
  switch (form.kind) {
    case Kind::kObject: {
      std::string lead = form.id_key.empty()
                             ? std::string()
                             : json_text(form.id_key) + ": \"" + std::string(id) + "\", ";
      return "{" + lead + json_text(form.name_key) + ": " + json_text(call.name) + ", " +
             json_text(form.arguments_key) + ": " + arguments + "}";
    }
    case Kind::kKeyed:
      return "{" + json_text(call.name) + ": " + arguments + "}";
    case Kind::kNamed:
      return id_filled(form.begin, id) + call.name + id_filled(form.middle, id) + arguments +
             form.end;
    case Kind::kTagged: {
      std::string text = id_filled(form.begin, id) + call.name + id_filled(form.middle, id);
      for (const auto& [key, value] : fields.items()) {
        const bool own = value.is_string() && !form.text_key_close.empty();
        std::string shown = value_text(value);
        if (form.cdata && value.is_string() && shown.find_first_of("<&\n") != std::string::npos)
          shown = "<![CDATA[" + shown + "]]>";
        text += form.key_open + key + (own ? form.text_key_close : form.key_close) + shown +
                form.close_of(key);
      }
      return text + form.end;
    }
    case Kind::kLiteral: {
      std::string text;
      for (const auto& [key, value] : fields.items())
        text += (text.empty() ? "" : form.value_close) + key + form.key_close +
                literal_text(form, value);
      return form.begin + call.name + form.middle + text + form.end;
    }
    case Kind::kNone:
      break;
  }
  return {};
}

}  // namespace

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kSpaces = " \t\r\n";
  const size_t begin = text.find_first_not_of(kSpaces);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kSpaces) + 1 - begin);
}

std::string json_text(const OrderedJson& value) {
  JinjaBudget free(UINT64_MAX);
  return jinja_json(JinjaValue::from_json(value, false), {}, free).bytes;
}

std::string mark_text(size_t index) {
  return {kMarkByte, static_cast<char>(0x80 + index)};
}

std::string_view CallForm::opener() const {
  const std::string_view text = trimmed(open.empty() ? begin : open);
  return text.substr(0, text.find(kAnyId));
}

std::string CallForm::close_of(const std::string& key) const {
  std::string mark = value_close;
  replace_all(mark, std::string_view(&kSameKey, 1), key);
  return mark;
}

int32_t CallForm::token_of(std::string_view text) const {
  text = trimmed(text);
  if (text.size() != 2 || text[0] != kMarkByte) return -1;
  const size_t index = static_cast<uint8_t>(text[1]) - size_t{0x80};
  return index < marks.size() ? marks[index].id : -1;
}

std::string CallForm::plain(std::string_view text) const {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != kMarkByte || i + 1 == text.size()) {
      out += text[i];
      continue;
    }
    const size_t index = static_cast<uint8_t>(text[++i]) - size_t{0x80};
    if (index < marks.size()) out += marks[index].text;
  }
  return out;
}

std::span<const CallForm> call_forms() {
  static const std::vector<CallForm> forms = all_forms();
  return forms;
}

const CallForm& call_form_named(std::string_view name) {
  for (const CallForm& form : call_forms())
    if (form.name == name) return form;
  throw Error("there is no form of calls called " + std::string(name));
}

CallForm for_tokenizer(CallForm form, const Tokenizer& tokenizer) {
  std::vector<const SpecialToken*> tokens;
  for (const SpecialToken& token : tokenizer.special_tokens())
    if (may_be_mark(token.text)) tokens.push_back(&token);
  std::stable_sort(tokens.begin(), tokens.end(),
                   [](const auto* a, const auto* b) { return a->text.size() > b->text.size(); });
  for (const SpecialToken* token : tokens) {
    const std::string mark = mark_text(form.marks.size());
    size_t found = 0;
    for (std::string* text : texts(form)) found += replace_all(*text, token->text, mark);
    if (found > 0) form.marks.push_back({token->id, token->text});
  }
  return form;
}

CallForm spelled_out(CallForm form) {
  for (std::string* text : texts(form)) *text = form.plain(*text);
  return form;
}

std::string call_example(const CallForm& form) {
  const Call call{"…", {{"…", "…"}}};
  return form.plain(write_calls(form, {&call, 1}));
}

std::string write_calls(const CallForm& form, std::span<const Call> calls, std::string_view id) {
  std::string text;
  for (size_t i = 0; i < calls.size(); ++i) {
    const std::string call = written(form, calls[i], id);
    const bool first = i == 0, last = i + 1 == calls.size();
    if (!first) text += form.between;
    if (first || !form.many) text += form.open + (form.list ? "[" : "");
    text += call;
    if (last || !form.many) text += (form.list ? "]" : "") + form.close;
  }
  return text;
}

}  // namespace um
