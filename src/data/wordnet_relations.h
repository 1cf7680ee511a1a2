// What words have to do with each other, from WordNet's data files (Debian's wordnet-base): kinds
// of nouns and opposites of adjectives, of words that are plain enough to ask about.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace um {

struct Noun {
  std::string word;                ///< it has one meaning only
  std::string kind;                ///< what it is a kind of, right above it
  std::vector<std::string> above;  ///< all that it is a kind of; has `kind` in it
  std::string definition;
};

struct Opposites {
  std::string word, opposite;
};

struct WordRelations {
  std::vector<Noun> nouns;
  std::vector<Opposites> opposites;  ///< each pair once
};

/// Reads data.noun and data.adj. Throws Error if they are missing or damaged.
WordRelations read_word_relations(const std::filesystem::path& directory);

}  // namespace um
