// See constraint_walk_util.h.
#include "tests/engine/constraint_walk_util.h"

#include <cmath>

#include "core/rng.h"

namespace um {

const std::vector<std::string>& walk_tokens() {
  static const std::vector<std::string> tokens = [] {
    std::vector<std::string> list;
    for (int byte = 0; byte < 256; ++byte) list.emplace_back(1, static_cast<char>(byte));
    for (const char* piece : {"{\"",
                              "\":",
                              "\": \"",
                              "\", \"",
                              "\"}",
                              "}}",
                              "]]",
                              "},",
                              ", ",
                              "[[",
                              "[{",
                              "true",
                              "false",
                              "null",
                              "tru",
                              "ull",
                              "\n",
                              "\n  ",
                              "\n    ",
                              "  ",
                              " ",
                              "10",
                              "123",
                              "0.",
                              "1e",
                              "-1",
                              "00",
                              "name",
                              "\"na",
                              "me\"",
                              "age",
                              "value",
                              "children",
                              "a",
                              "ab",
                              "abc",
                              "the ",
                              " the",
                              "hello world",
                              "\xC3\xA9t\xC3\xA9",
                              "\xE6\x97\xA5\xE6\x9C\xAC",
                              "\xE6\x97",
                              "\xA5",
                              "x\xC3",
                              "\xF0\x9F\xA6",
                              "\x86\"",
                              "\\n",
                              "\\\"",
                              "\\u00",
                              "\"\\",
                              "\\ud83e",
                              "\\udd86",
                              "id\":",
                              "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz",
                              "2024-",
                              "-01",
                              "red",
                              "green",
                              "gre",
                              "yes",
                              "no",
                              "\xE2\x80\xA8",
                              "\x7F",
                              "\t"})
      list.emplace_back(piece);
    list.emplace_back();  // eos
    list.emplace_back();
    return list;
  }();
  return tokens;
}

int32_t walk_eos() {
  return static_cast<int32_t>(walk_tokens().size()) - 2;
}

ConstraintFactory& walk_factory() {
  static ConstraintFactory factory(walk_tokens(), {walk_eos()});
  return factory;
}

std::string random_walk(Constraint& constraint, uint64_t seed, int free_tokens) {
  const RandomStream random(seed, hash_name("walk"));
  const std::vector<std::string>& tokens = walk_tokens();
  std::string text;
  for (int step = 0; step < 20000; ++step) {
    std::vector<float> logits(tokens.size() + 40, 0.0f);  // as an embedding padded to 64
    constraint.mask(logits);
    std::vector<int32_t> allowed;
    for (size_t id = 0; id < logits.size(); ++id)
      if (!std::isinf(logits[id])) allowed.push_back(static_cast<int32_t>(id));
    if (allowed.empty()) return "! nothing is allowed behind " + text;
    int32_t id = allowed[random.bits(static_cast<uint64_t>(step)) % allowed.size()];
    if (step >= free_tokens && random.bits(static_cast<uint64_t>(step) + 100000) % 2 == 0) {
      for (const int32_t end : {static_cast<int32_t>(']'), static_cast<int32_t>('}'),
                                static_cast<int32_t>('"'), walk_eos()})
        if (!std::isinf(logits[static_cast<size_t>(end)])) id = end;
    }
    if (id == walk_eos()) return text;
    if (static_cast<size_t>(id) >= tokens.size() || tokens[static_cast<size_t>(id)].empty())
      return "! token " + std::to_string(id) + " is allowed";
    constraint.accept(id);
    text += tokens[static_cast<size_t>(id)];
  }
  return "! no end to " + text.substr(0, 200);
}

bool lets_through(const Constraint& constraint, std::string_view text) {
  const auto copy = constraint.clone();
  std::vector<float> logits;
  const auto allowed = [&](int32_t id) {
    logits.assign(walk_tokens().size(), 0.0f);
    copy->mask(logits);
    return !std::isinf(logits[static_cast<size_t>(id)]);
  };
  for (const char c : text) {
    const auto id = static_cast<int32_t>(static_cast<unsigned char>(c));
    if (!allowed(id)) return false;
    copy->accept(id);
  }
  return allowed(walk_eos());
}

}  // namespace um
