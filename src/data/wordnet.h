// The demo's corpus: WordNet's data files (Debian's wordnet-base) as lines of running text.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace um {

/// What a synset, or one of its words, has to do with another: `@` a kind of it, `!` its opposite,
/// and others (wninput(5)).
struct SynsetPointer {
  std::string symbol;
  uint32_t offset = 0;         // of the other synset
  char type = 0;               // its part of speech: n, v, a or r
  int source = 0, target = 0;  // numbers of words from 1; 0: the whole synset
};

/// One synset of WordNet.
struct Synset {
  std::string topic;  // the lexicographer file's name: noun.animal, verb.motion, …
  std::string text;   // `word, other word (noun.animal): definition. example.`
  uint32_t offset = 0;
  std::vector<std::string> words;
  std::vector<SynsetPointer> pointers;
  std::string definition;  // without its examples
};

/// Reads one line of a data file (format: wndb(5)). `where` is for errors. Throws Error for a line
/// that breaks the format; false for a line of the licence at the top, which begins with two
/// spaces.
bool parse_synset(std::string_view line, const std::string& where, Synset& synset);

/// Calls `use` with each synset of a data file. Throws Error if it is missing or damaged.
void for_each_synset(const std::filesystem::path& file,
                     const std::function<void(const Synset& synset)>& use);

struct WordnetCount {
  uint64_t lines = 0, bytes = 0;
};

/// Writes the synsets of `directory`/data.{noun,verb,adj,adv}, one line each, in that order, to
/// `out` (atomically). Throws Error if a file is missing or damaged.
WordnetCount extract_wordnet(const std::filesystem::path& directory,
                             const std::filesystem::path& out);

}  // namespace um
