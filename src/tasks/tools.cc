// Calls of tools: a calculator for what is too long to work out, and look-ups of what nobody can
// know. From level 3 on other tools are on offer, too.
#include <array>

#include "tasks/makers.h"
#include "tasks/words.h"

namespace um {
namespace {

using OrderedJson = nlohmann::ordered_json;

OrderedJson text_type(std::string_view about) {
  return {{"type", "string"}, {"description", about}};
}

OrderedJson tool(std::string_view name, std::string_view about, OrderedJson properties) {
  OrderedJson required = OrderedJson::array();
  for (const auto& [key, value] : properties.items()) required.push_back(key);
  return {
      {"type", "function"},
      {"function",
       {{"name", name},
        {"description", about},
        {"parameters", {{"type", "object"}, {"properties", properties}, {"required", required}}}}}};
}

OrderedJson calculator() {
  return tool("calculator", "Works out one operation on two whole numbers.",
              {{"operation", {{"type", "string"}, {"enum", {"add", "subtract", "multiply"}}}},
               {"a", {{"type", "integer"}}},
               {"b", {{"type", "integer"}}}});
}
OrderedJson phone_book() {
  return tool("phone_number", "Looks up a person's phone number.",
              {{"name", text_type("The person's name")}});
}
OrderedJson prices() {
  return tool("price", "Looks up what a thing costs.", {{"item", text_type("The thing's name")}});
}
OrderedJson weather() {
  return tool("weather", "Tells the weather of a place.",
              {{"place", text_type("The place's name")}});
}

/// The tool that is needed, among as many others as the level has.
OrderedJson offered(TaskRandom& random, int level, OrderedJson needed,
                    std::vector<OrderedJson> others) {
  constexpr ByLevel<size_t> kOthers = {0, 0, 1, 2, 3};
  random.shuffle(others);
  others.resize(at_level(kOthers, level), nullptr);
  others.push_back(std::move(needed));
  random.shuffle(others);
  return others;
}

Problem call_problem(std::string question, std::string steps, OrderedJson tools, OrderedJson call,
                     std::string result, std::string answer) {
  return {.key = question,
          .question = question,
          .steps = std::move(steps),
          .answer = std::move(answer),
          .checker = {{"kind", "call"}},
          .tools = std::move(tools),
          .call = std::move(call),
          .result = std::move(result)};
}

struct Operation {
  std::string_view name;
  char sign;
};
constexpr std::array<Operation, 3> kOperations = {
    {{"add", '+'}, {"subtract", '-'}, {"multiply", '*'}}};

}  // namespace

Problem make_calculator(TaskRandom& random, int level, Language language, const TaskInputs&) {
  constexpr ByLevel<int64_t> kLargest = {99, 999, 9999, 99'999, 999'999'999};
  const Operation operation = kOperations[random.index(kOperations.size())];
  const int64_t largest = at_level(kLargest, level), a = random.between(2, largest),
                b = random.between(2, largest);
  const int64_t value = operation.sign == '+' ? a + b : operation.sign == '-' ? a - b : a * b;
  OrderedJson tools = offered(random, level, calculator(), {phone_book(), prices(), weather()});
  return call_problem(
      say(language, "Use the calculator: what is {} {} {}?", "用计算器算一下：{} {} {} 等于多少？",
          a, operation.sign, b),
      say(language, "The calculator can {} {} and {}.", "用计算器做运算 {}：{}，{}。",
          operation.name, a, b),
      std::move(tools),
      {{"name", "calculator"}, {"arguments", {{"operation", operation.name}, {"a", a}, {"b", b}}}},
      std::to_string(value), std::to_string(value));
}

Problem make_lookup(TaskRandom& random, int level, Language language, const TaskInputs&) {
  const bool phone = random.coin();
  const std::string_view name = random.pick(first_names(language)),
                         item = random.pick(common_words(language));
  // A family name makes people many.
  const std::string person = language == Language::kEnglish
                                 ? fmt::format("{} {}", name, random.pick(first_names(language)))
                                 : fmt::format("{}{}", random.pick(letters(language)), name);
  OrderedJson tools = offered(random, level, phone ? phone_book() : prices(),
                              {phone ? prices() : phone_book(), weather(), calculator()});
  if (phone) {
    const std::string number = std::to_string(random.between(1'000'000, 9'999'999));
    return call_problem(
        say(language, "What is the phone number of {}?", "{}的电话号码是多少？", person),
        say(language, "I have to look up the number of {}.", "需要查{}的电话号码。", person),
        std::move(tools), {{"name", "phone_number"}, {"arguments", {{"name", person}}}}, number,
        number);
  }
  const std::string thing =
      fmt::format("{} {}", item, random.between(1, 999));  // as catalogues number things
  const std::string price = std::to_string(random.between(1, 9999));
  return call_problem(
      say(language, "What does \"{}\" cost?", "“{}”卖多少钱？", thing),
      say(language, "I have to look up the price of {}.", "需要查{}的价格。", thing),
      std::move(tools), {{"name", "price"}, {"arguments", {{"item", thing}}}}, price, price);
}

}  // namespace um
