// The demo's corpus: WordNet's data files (Debian's wordnet-base) as lines of running text.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace um {

/// One synset of WordNet.
struct Synset {
  std::string topic;  // the lexicographer file's name: noun.animal, verb.motion, …
  std::string text;   // `word, other word (noun.animal): definition. example.`
};

/// Reads one line of a data file (format: wndb(5)). `where` is for errors. Throws Error for a line
/// that breaks the format; false for a line of the licence at the top, which begins with two
/// spaces.
bool parse_synset(std::string_view line, const std::string& where, Synset& synset);

struct WordnetCount {
  uint64_t lines = 0, bytes = 0;
};

/// Writes the synsets of `directory`/data.{noun,verb,adj,adv}, one line each, in that order, to
/// `out` (atomically). Throws Error if a file is missing or damaged.
WordnetCount extract_wordnet(const std::filesystem::path& directory,
                             const std::filesystem::path& out);

}  // namespace um
