// See questions.h.
#include "tasks/questions.h"

#include <array>
#include <map>
#include <tuple>

#include "core/error.h"
#include "core/json.h"
#include "core/ordered_json.h"
#include "data/text_file.h"
#include "tasks/records.h"

namespace um {
namespace {

using OrderedJson = nlohmann::ordered_json;

constexpr uint64_t kMaxFileBytes = uint64_t{1} << 30;

/// A question in plain words.
void ask(Question& out, const std::string& question) {
  out.messages = OrderedJson::array({{{"role", "user"}, {"content", question}}});
  out.base_prompt =
      base_prompt(question, out.language == "zh" ? Language::kChinese : Language::kEnglish);
}

void set_answer(Question& out, const OrderedJson& checker, const OrderedJson& answer,
                const std::string& where) {
  out.answer = answer;
  out.checker = Checker::from_json(Json(checker), Json(answer), where);
}

/// The messages up to the assistant's first.
OrderedJson messages_to_answer(const OrderedJson& messages, const JsonObject& fields) {
  if (!messages.is_array()) fields.wrong("messages", "a list");
  OrderedJson out = OrderedJson::array();
  for (const OrderedJson& message : messages) {
    if (!message.is_object() || !message.contains("role"))
      fields.wrong("messages", "objects with a role");
    if (message["role"] == "assistant") break;
    out.push_back(message);
  }
  if (out.empty()) fields.wrong("messages", "a question in front of the answer");
  return out;
}

/// Ours: "messages" or "prompt", with "answer" and "checker".
void read_own(const OrderedJson& record, const JsonObject& fields, Question& out) {
  if (fields.has("messages")) {
    out.messages = messages_to_answer(record["messages"], fields);
    const OrderedJson& last = out.messages.back();
    if (last.contains("content") && last["content"].is_string())
      out.base_prompt = base_prompt(last["content"].get<std::string>(),
                                    out.language == "zh" ? Language::kChinese : Language::kEnglish);
  } else {
    out.base_prompt = fields.string("prompt");
    out.messages = OrderedJson::array({{{"role", "user"}, {"content", out.base_prompt}}});
  }
  if (fields.has("tools")) out.tools = record["tools"];
  set_answer(out, record.contains("checker") ? record["checker"] : OrderedJson(), record["answer"],
             fields.where());
}

/// {"question", "choices": […], "answer": index}
void read_choices(const OrderedJson&, const JsonObject& fields, Question& out) {
  out.choices = fields.strings("choices");
  if (out.choices.size() < 2) fields.wrong("choices", "two texts at least");
  out.right_choice = static_cast<size_t>(fields.integer("answer", 0, std::ssize(out.choices) - 1));
  out.answer = out.choices[out.right_choice];
  ask(out, fields.string("question"));
}

/// GSM8K: {"question", "answer": "… #### 42"}; without the mark, the answer alone.
void read_gsm8k(const OrderedJson&, const JsonObject& fields, Question& out) {
  std::string answer = fields.string("answer");
  const size_t mark = answer.rfind("####");
  if (mark != std::string::npos) answer = answer.substr(mark + 4);
  set_answer(out, "number", answer, fields.where());
  ask(out, fields.string("question"));
}

/// SVAMP: {"ID", "Body", "Question", "Answer": 51.0}
void read_svamp(const OrderedJson& record, const JsonObject& fields, Question& out) {
  std::string body = fields.string("Body");
  const bool sentence = body.ends_with('.') || body.ends_with('?') || body.ends_with(',');
  ask(out, body + (sentence ? " " : ", ") + fields.string("Question"));
  out.id = fields.string_or("ID", out.id);
  set_answer(out, "number", record["Answer"], fields.where());
}

/// CMATH: {"grade", "input", "golden"}
void read_cmath(const OrderedJson& record, const JsonObject& fields, Question& out) {
  out.language = "zh";
  out.level = static_cast<int>(fields.integer_or("grade", 0, 0, 12));
  ask(out, fields.string("input"));
  set_answer(out, "number", record["golden"], fields.where());
}

struct Format {
  std::array<const char*, 2> fields;  // by which it is known
  void (*read)(const OrderedJson&, const JsonObject&, Question&);
};
constexpr std::array<Format, 6> kFormats = {{{{"checker", "messages"}, read_own},
                                             {{"checker", "prompt"}, read_own},
                                             {{"question", "choices"}, read_choices},
                                             {{"Body", "Question"}, read_svamp},
                                             {{"input", "golden"}, read_cmath},
                                             {{"question", "answer"}, read_gsm8k}}};

Question read_record(const OrderedJson& record, const std::string& task, const std::string& where) {
  const Json plain = record;
  const JsonObject fields(plain, where);
  Question out;
  out.task = fields.string_or("task", task);
  out.level = static_cast<int>(fields.integer_or("level", 0, 0, 1000));
  out.id = fields.has("id") && plain["id"].is_string() ? plain["id"].get<std::string>() : where;
  out.language = fields.string_or("language", "en");
  out.mode = fields.string_or("mode", "");
  for (const Format& format : kFormats)
    if (fields.has(format.fields[0]) && fields.has(format.fields[1])) {
      if (!fields.has("answer") && !fields.has("Answer") && !fields.has("golden"))
        fields.wrong("answer", "the right answer");
      format.read(record, fields, out);
      return out;
    }
  fail(
      "{}: no question that is known: expected messages or prompt with answer and checker, "
      "question "
      "and answer, question and choices, Body and Question, or input and golden",
      where);
}

}  // namespace

std::vector<Question> read_questions(const std::filesystem::path& file) {
  const std::string text = read_text_file(file, kMaxFileBytes), name = file.string(),
                    task = file.stem().string();
  std::vector<Question> questions;
  if (file.extension() == ".json") {
    const OrderedJson list = parse_ordered_json(text, name);
    UM_CHECK(list.is_array(), "{}: expected a list of questions (or a .jsonl file)", name);
    for (size_t i = 0; i < list.size(); ++i)
      questions.push_back(read_record(list[i], task, fmt::format("{}[{}]", name, i)));
  } else {
    std::string_view rest = text;
    for (int64_t number = 1; !rest.empty(); ++number) {
      const size_t end = std::min(rest.find('\n'), rest.size());
      const std::string_view line = rest.substr(0, end);
      rest.remove_prefix(std::min(end + 1, rest.size()));
      if (line.find_first_not_of(" \t") == std::string_view::npos) continue;
      const std::string where = fmt::format("{}:{}", name, number);
      questions.push_back(read_record(parse_ordered_json(line, where), task, where));
    }
  }
  UM_CHECK(!questions.empty(), "{}: no questions", name);
  return questions;
}

std::vector<Question> limited(std::vector<Question> questions, int64_t limit) {
  if (limit <= 0) return questions;
  std::map<std::tuple<std::string, int, std::string>, int64_t> taken;
  std::erase_if(questions, [&](const Question& one) {
    return ++taken[{one.task, one.level, one.mode}] > limit;
  });
  return questions;
}

}  // namespace um
