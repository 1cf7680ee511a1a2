// See wordnet.h.
#include "data/wordnet.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "core/error.h"
#include "core/files.h"
#include "text/utf8.h"

namespace um {
namespace {

// lexnames(5): the 45 lexicographer files by number.
constexpr std::array<std::string_view, 45> kTopics = {
    "adj.all",          "adj.pert",           "adv.all",
    "noun.Tops",        "noun.act",           "noun.animal",
    "noun.artifact",    "noun.attribute",     "noun.body",
    "noun.cognition",   "noun.communication", "noun.event",
    "noun.feeling",     "noun.food",          "noun.group",
    "noun.location",    "noun.motive",        "noun.object",
    "noun.person",      "noun.phenomenon",    "noun.plant",
    "noun.possession",  "noun.process",       "noun.quantity",
    "noun.relation",    "noun.shape",         "noun.state",
    "noun.substance",   "noun.time",          "verb.body",
    "verb.change",      "verb.cognition",     "verb.communication",
    "verb.competition", "verb.consumption",   "verb.contact",
    "verb.creation",    "verb.emotion",       "verb.motion",
    "verb.perception",  "verb.possession",    "verb.social",
    "verb.stative",     "verb.weather",       "adj.ppl"};

constexpr uint64_t kMaxFileBytes = 256u << 20;
constexpr int kMaxOffset = 99'999'999;

/// Takes the next word off the front of `rest`; empty at the end.
std::string_view take_word(std::string_view& rest) {
  const size_t end = std::min(rest.find(' '), rest.size());
  const std::string_view word = rest.substr(0, end);
  rest.remove_prefix(std::min(end + 1, rest.size()));
  return word;
}

int take_number(std::string_view& rest, int base, int max, const std::string& where,
                std::string_view what) {
  const std::string_view word = take_word(rest);
  int value = -1;
  const auto parsed = std::from_chars(word.data(), word.data() + word.size(), value, base);
  UM_CHECK(parsed.ec == std::errc() && parsed.ptr == word.data() + word.size() && value >= 0 &&
               value <= max,
           "{}: {} \"{}\", expected a number from 0 to {}", where, what,
           repair_utf8(word.substr(0, 32)), max);
  return value;
}

std::string_view trim(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t\r\n;");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t\r\n;") + 1 - begin);
}

/// `dying(p)` → `dying`; `physical_entity` → `physical entity`.
std::string plain_word(std::string_view word) {
  if (word.ends_with(')')) word = word.substr(0, word.rfind('('));
  std::string plain(word);
  std::replace(plain.begin(), plain.end(), '_', ' ');
  return plain;
}

void add_sentence(std::string& text, std::string_view sentence) {
  sentence = trim(sentence);
  if (sentence.empty()) return;
  text.append(" ").append(sentence);
  if (std::string_view(".!?").find(sentence.back()) == std::string_view::npos) text += '.';
}

/// A gloss is a definition, then examples in quotation marks: `a whole; "the unit"; "two units"`.
void add_gloss(std::string& text, std::string_view gloss) {
  const size_t examples = std::min(gloss.find("; \""), gloss.size());
  add_sentence(text, gloss.substr(0, examples));
  gloss.remove_prefix(examples);
  while (!gloss.empty()) {
    const size_t open = gloss.find('"');
    if (open == std::string_view::npos) break;
    const size_t close = std::min(gloss.find('"', open + 1), gloss.size());
    add_sentence(text, gloss.substr(open + 1, close - open - 1));
    gloss.remove_prefix(std::min(close + 1, gloss.size()));
  }
}

/// A part of speech, one of `known`.
char take_type(std::string_view& rest, std::string_view known, const std::string& where) {
  const std::string_view type = take_word(rest);
  UM_CHECK(type.size() == 1 && known.find(type) != std::string_view::npos,
           "{}: synset type \"{}\", expected one of {}", where, repair_utf8(type.substr(0, 32)),
           known);
  return type[0];
}

void take_pointers(std::string_view& rest, const std::string& where,
                   std::vector<SynsetPointer>& pointers) {
  const int count = take_number(rest, 10, 999, where, "pointer count");
  for (int p = 0; p < count; ++p) {
    SynsetPointer pointer;
    pointer.symbol = repair_utf8(take_word(rest));
    pointer.offset =
        static_cast<uint32_t>(take_number(rest, 10, kMaxOffset, where, "pointer's offset"));
    pointer.type = take_type(rest, "nvasr", where);
    const int words = take_number(rest, 16, 0xFFFF, where, "pointer's words");
    pointer.source = words >> 8, pointer.target = words & 0xFF;
    pointers.push_back(std::move(pointer));
  }
}

}  // namespace

bool parse_synset(std::string_view line, const std::string& where, Synset& synset) {
  if (line.starts_with("  ")) return false;
  const size_t bar = line.find(" | ");
  UM_CHECK(bar != std::string_view::npos, "{}: no gloss (\" | \")", where);
  std::string_view fields = line.substr(0, bar);
  synset.offset =
      static_cast<uint32_t>(take_number(fields, 10, kMaxOffset, where, "synset offset"));
  const int topic = take_number(fields, 10, kTopics.size() - 1, where, "lexicographer file");
  take_type(fields, "nvasr", where);
  const int words = take_number(fields, 16, 255, where, "word count");
  synset.topic = kTopics[static_cast<size_t>(topic)];
  synset.words.clear();
  for (int w = 0; w < words; ++w) {
    const std::string word = plain_word(take_word(fields));
    UM_CHECK(!word.empty(), "{}: {} words announced, {} found", where, words, w);
    take_number(fields, 16, 255, where, "sense number");
    synset.words.push_back(repair_utf8(word));
  }
  UM_CHECK(words > 0, "{}: a synset without words", where);
  synset.pointers.clear();
  if (!fields.empty()) take_pointers(fields, where, synset.pointers);
  const std::string_view gloss = line.substr(bar + 3);
  synset.definition = repair_utf8(trim(gloss.substr(0, gloss.find("; \""))));
  synset.text = fmt::format("{} ({}):", fmt::join(synset.words, ", "), synset.topic);
  add_gloss(synset.text, gloss);
  synset.text = repair_utf8(synset.text);
  return true;
}

void for_each_synset(const std::filesystem::path& file,
                     const std::function<void(const Synset& synset)>& use) {
  const std::string text = read_file(file, kMaxFileBytes);
  std::string_view rest = text;
  Synset synset;
  for (uint64_t number = 1; !rest.empty(); ++number) {
    const size_t end = std::min(rest.find('\n'), rest.size());
    const std::string_view line = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (parse_synset(line, fmt::format("{}:{}", file.string(), number), synset)) use(synset);
  }
}

WordnetCount extract_wordnet(const std::filesystem::path& directory,
                             const std::filesystem::path& out) {
  AtomicFile file(out);
  WordnetCount count;
  for (const char* part : {"data.noun", "data.verb", "data.adj", "data.adv"}) {
    std::string lines;
    for_each_synset(directory / part, [&](const Synset& synset) {
      lines += synset.text + "\n";
      ++count.lines;
    });
    file.write(lines);
  }
  count.bytes = file.size();
  UM_CHECK(count.lines > 0, "{}: no synsets in WordNet's data files", directory.string());
  file.commit();
  return count;
}

}  // namespace um
