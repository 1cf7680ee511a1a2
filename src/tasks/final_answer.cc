// See final_answer.h.
#include "tasks/final_answer.h"

#include <algorithm>
#include <array>
#include <cstdint>

namespace um {
namespace {

using Strings = std::initializer_list<std::string_view>;
constexpr size_t kNone = std::string_view::npos;

char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}
bool is_letter(char c) {
  return lower(c) >= 'a' && lower(c) <= 'z';
}

/// Whether `text` has the (lower-case) word at `at`.
bool has_at(std::string_view text, size_t at, std::string_view word) {
  if (text.size() - at < word.size()) return false;
  for (size_t i = 0; i < word.size(); ++i)
    if (lower(text[at + i]) != word[i]) return false;
  return true;
}

size_t skip(std::string_view text, size_t at, std::string_view characters) {
  return std::min(text.find_first_not_of(characters, at), text.size());
}

/// Passes one of the words; false if none stands at `at`.
bool take(std::string_view text, size_t& at, Strings words) {
  for (const std::string_view word : words) {
    if (!has_at(text, at, word)) continue;
    if (is_letter(word.back()) && at + word.size() < text.size() &&
        is_letter(text[at + word.size()]))
      continue;
    at += word.size();
    return true;
  }
  return false;
}

/// Passes the mark of an answer that begins at `at`; kNone if none does.
size_t mark_end(std::string_view text, size_t at) {
  if (has_at(text, at, "####")) return skip(text, at, "#");
  const bool chinese = has_at(text, at, "答案");
  if (!chinese && (!has_at(text, at, "answer") || (at > 0 && is_letter(text[at - 1]))))
    return kNone;
  constexpr std::string_view kSpace = " \t*_`\"";
  size_t end = skip(text, at + 6, kSpace);  // both words have six bytes
  bool found = false;
  while (take(text, end, {":", "=", "is", "are", "equals", "应该", "应", "是", "为"})) {
    found = true;
    end = skip(text, end, kSpace);
  }
  return found ? end : kNone;
}

/// Where the sentence that begins at `begin` ends, not behind `limit`.
size_t sentence_end(std::string_view text, size_t begin, size_t limit) {
  for (size_t at = begin; at < limit; ++at) {
    if (text[at] == '\n' || has_at(text, at, "。")) return at;
    const bool stop = text[at] == '.' || text[at] == '!' || text[at] == '?' || text[at] == ';';
    if (stop && (at + 1 == limit || text[at + 1] == ' ' || text[at + 1] == '\n')) return at;
  }
  return limit;
}

struct Part {
  size_t begin, end;
};

/// The outermost `\boxed{…}`: what is in the braces.
std::vector<Part> find_boxes(std::string_view text) {
  std::vector<Part> boxes;
  std::vector<std::pair<size_t, bool>> open;  // where a brace's content begins, whether it is a box
  int64_t open_boxes = 0;
  for (size_t at = 0; at < text.size(); ++at) {
    if (text[at] == '{') {
      const bool box = text.substr(0, at).ends_with("\\boxed");
      open.emplace_back(at + 1, box);
      open_boxes += box ? 1 : 0;
    } else if (text[at] == '}' && !open.empty()) {
      const auto [begin, box] = open.back();
      open.pop_back();
      if (!box || --open_boxes > 0) continue;
      boxes.push_back({begin, at});
    }
  }
  return boxes;
}

/// What stands behind the marks.
std::vector<Part> find_sentences(std::string_view text) {
  std::vector<Part> parts;
  std::vector<Part> marks;  // a mark and where it ends
  for (size_t at = 0; at < text.size();) {
    const size_t end = mark_end(text, at);
    if (end != kNone) marks.push_back({at, end});
    at = end == kNone ? at + 1 : end;
  }
  for (size_t i = 0; i < marks.size(); ++i) {
    const size_t limit = i + 1 < marks.size() ? marks[i + 1].begin : text.size();
    const size_t begin = std::min(skip(text, marks[i].end, " \t\n*_"), limit);
    parts.push_back({begin, sentence_end(text, begin, limit)});
  }
  return parts;
}

/// Words of the next mark that are left at the end of what stands before it.
std::string_view without_article(std::string_view text) {
  constexpr std::array<std::string_view, 8> kWords = {"correct", "final", "Final", "the",
                                                      "The",     "my",    "正确",  "最终"};
  const auto found = [&] {
    return std::find_if(kWords.begin(), kWords.end(),
                        [&](std::string_view word) { return text.ends_with(word); });
  };
  for (const auto* word = found(); word != kWords.end(); word = found())
    text = unwrapped(text.substr(0, text.size() - word->size()));
  return text;
}

void find_lines(std::string_view text, FinalAnswers& out) {
  constexpr std::string_view kBlank = " \t\r\n";
  const size_t last = text.find_last_not_of(kBlank);
  if (last == kNone) return;
  const size_t before = text.find_last_of('\n', last);
  const size_t begin = before == kNone ? 0 : before + 1;
  out.last_line = text.substr(begin, last + 1 - begin);
  out.single_line = text.find_first_not_of(kBlank) >= begin;
}

}  // namespace

// U+FF01 to U+FF5E are ASCII's characters from ! on; U+3000 is the space, 、 a comma.
std::string half_width(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[at + i]); };
    if (at + 2 < text.size() && (byte(0) == 0xEF || byte(0) == 0xE3)) {
      const uint32_t code = (byte(0) & 0xFu) << 12 | (byte(1) & 0x3Fu) << 6 | (byte(2) & 0x3Fu);
      const bool whole = (byte(1) & 0xC0) == 0x80 && (byte(2) & 0xC0) == 0x80;
      char plain = 0;
      if (whole && code >= 0xFF01 && code <= 0xFF5E) plain = static_cast<char>(code - 0xFF01 + '!');
      if (whole && code == 0x3000) plain = ' ';
      if (whole && code == 0x3001) plain = ',';
      if (plain != 0) {
        out += plain;
        at += 3;
        continue;
      }
    }
    out += text[at++];
  }
  return out;
}

std::string_view unwrapped(std::string_view text) {
  constexpr std::string_view kFront = " \t\r\n*_`\"'$", kBack = " \t\r\n*_`\"'$.!;";
  const auto strip = [&](std::string_view front, std::string_view back) {
    const bool starts = text.starts_with(front), ends = text.ends_with(back);
    if (starts) text.remove_prefix(front.size());
    if (ends && text.size() >= back.size()) text.remove_suffix(back.size());
    return starts || ends;
  };
  do {
    text.remove_prefix(std::min(text.find_first_not_of(kFront), text.size()));
    text.remove_suffix(text.size() - std::min(text.find_last_not_of(kBack) + 1, text.size()));
  } while (strip("\\(", "\\)") || strip("\\[", "\\]") || strip("。", "。") || strip("“", "”"));
  return text;
}

FinalAnswers find_final_answers(std::string_view text) {
  FinalAnswers out;
  const std::vector<Part> boxes = find_boxes(text), sentences = find_sentences(text);
  size_t box = 0;
  const auto add = [&](Part part, bool marked_next) {
    std::string_view answer = unwrapped(text.substr(part.begin, part.end - part.begin));
    if (marked_next) answer = without_article(answer);
    if (!answer.empty()) out.marked.push_back(answer);
  };
  for (const Part& sentence : sentences) {
    for (; box < boxes.size() && boxes[box].end < sentence.begin; ++box) add(boxes[box], false);
    if (box < boxes.size() && boxes[box].begin <= sentence.end) continue;  // the box says it
    add(sentence, &sentence != &sentences.back());
  }
  for (; box < boxes.size(); ++box) add(boxes[box], false);
  find_lines(text, out);
  return out;
}

std::string_view behind_equals(std::string_view answer) {
  const size_t at = answer.rfind('=');
  return at == kNone ? answer : unwrapped(answer.substr(at + 1));
}

}  // namespace um
