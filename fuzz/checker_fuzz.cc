// Fuzzes the checkers of answers with texts as models could write them: none throws, what is right
// in the strict form is right in the lenient one, and a right answer has the right reason.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "core/json.h"
#include "tasks/checker.h"

namespace {

const std::vector<um::Checker>& checkers() {
  static const std::vector<um::Checker> all = [] {
    const um::Json countdown = {{"kind", "countdown"}, {"numbers", {1, 2, 25}}, {"target", 27}};
    const um::Json call = {{"name", "f"}, {"arguments", {{"a", 1}}}};
    std::vector<um::Checker> made;
    made.push_back(um::Checker::from_json("number", "42", "fuzz"));
    made.push_back(um::Checker::from_json("text", "anna", "fuzz"));
    made.push_back(um::Checker::from_json("list", "1, 2", "fuzz"));
    made.push_back(um::Checker::from_json(countdown, "25 + 2", "fuzz"));
    made.push_back(um::Checker::from_json("call", call, "fuzz"));
    return made;
  }();
  return all;
}

}  // namespace

std::vector<std::string> fuzz_seeds() {
  return {"The answer is 42.",
          "\\boxed{\\frac{84}{2}}",
          "答案是四十二。",
          "#### 4,2",
          "Anna or Ben",
          "[1, 2]",
          "In order: 1、2",
          "(25 + 2) * 1 = 27",
          "25 × 1 ÷ （2 − 1） + 2",
          R"({"a": 1.0})",
          "**Answer:** −1.50"};
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  const std::vector<um::SpokenCall> calls = {{"f", text}};
  for (const um::Checker& checker : checkers()) {
    const um::Verdict lenient = checker.check({text, calls});
    const um::Verdict strict = checker.check({text, calls}, um::Strictness::kStrict);
    if (strict.right && !lenient.right) std::abort();
    if (lenient.right != (lenient.reason == "right")) std::abort();
  }
  return 0;
}
