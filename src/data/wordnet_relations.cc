// See wordnet_relations.h.
#include "data/wordnet_relations.h"

#include <algorithm>
#include <set>

#include "core/error.h"
#include "core/keyed_hash.h"
#include "data/wordnet.h"

namespace um {
namespace {

namespace fs = std::filesystem;

/// Of 3 to 10 small letters.
bool is_plain(const std::string& word) {
  return word.size() >= 3 && word.size() <= 10 &&
         std::all_of(word.begin(), word.end(), [](char c) { return c >= 'a' && c <= 'z'; });
}

class Nouns {
 public:
  explicit Nouns(const fs::path& file) {
    for_each_synset(file, [&](const Synset& synset) {
      for (const std::string& word : synset.words) ++senses_[word];
      if (synset.topic.starts_with("noun.Tops")) return;  // abstractions: nobody asks about them
      place_[synset.offset] = synsets_.size();
      synsets_.push_back(synset);
    });
  }

  std::vector<Noun> plain() const {
    std::vector<Noun> nouns;
    for (const Synset& synset : synsets_) {
      const std::string& word = synset.words[0];
      if (!is_plain(word) || senses_.at(word) != 1) continue;
      const Synset* above = parent(synset);
      if (above == nullptr || !is_plain(above->words[0]) || above->words[0] == word) continue;
      std::vector<std::string> all;
      std::set<uint32_t> seen;
      gather(synset, seen, all);
      nouns.push_back({word, above->words[0], std::move(all), synset.definition});
    }
    return nouns;
  }

 private:
  const Synset* at(const SynsetPointer& pointer) const {
    if (pointer.symbol != "@" || pointer.type != 'n') return nullptr;
    const auto found = place_.find(pointer.offset);
    return found == place_.end() ? nullptr : &synsets_[found->second];
  }
  const Synset* parent(const Synset& synset) const {
    for (const SynsetPointer& pointer : synset.pointers)
      if (const Synset* above = at(pointer)) return above;
    return nullptr;
  }
  /// The words of all that stands above; a file may have circles.
  void gather(const Synset& from, std::set<uint32_t>& seen, std::vector<std::string>& out) const {
    std::vector<const Synset*> open = {&from};
    while (!open.empty()) {
      const Synset* synset = open.back();
      open.pop_back();
      for (const SynsetPointer& pointer : synset->pointers) {
        const Synset* above = at(pointer);
        if (above == nullptr || !seen.insert(above->offset).second) continue;
        out.insert(out.end(), above->words.begin(), above->words.end());
        open.push_back(above);
      }
    }
  }

  std::vector<Synset> synsets_;
  NumberMap<size_t> place_;  // by offset
  NameMap<int> senses_;
};

std::vector<Opposites> read_opposites(const fs::path& file) {
  std::vector<Synset> synsets;
  NumberMap<size_t> place;
  for_each_synset(file, [&](const Synset& synset) {
    place[synset.offset] = synsets.size();
    synsets.push_back(synset);
  });
  std::vector<Opposites> out;
  NameSet used;
  for (const Synset& synset : synsets)
    for (const SynsetPointer& pointer : synset.pointers) {
      const auto found = place.find(pointer.offset);
      if (pointer.symbol != "!" || found == place.end() || pointer.source < 1 || pointer.target < 1)
        continue;
      const Synset& other = synsets[found->second];
      const auto source = static_cast<size_t>(pointer.source),
                 target = static_cast<size_t>(pointer.target);
      if (source > synset.words.size() || target > other.words.size()) continue;
      const std::string &word = synset.words[source - 1], &opposite = other.words[target - 1];
      // A word with two opposites has none that is right.
      if (is_plain(word) && is_plain(opposite) && !used.contains(word) && !used.contains(opposite))
        out.push_back({word, opposite});
      used.insert(word);
      used.insert(opposite);
    }
  return out;
}

}  // namespace

WordRelations read_word_relations(const fs::path& directory) {
  UM_CHECK(fs::exists(directory / "data.noun"),
           "{}: no WordNet here (data.noun); install the package wordnet-base or name its "
           "directory with --wordnet",
           directory.string());
  WordRelations out{Nouns(directory / "data.noun").plain(), read_opposites(directory / "data.adj")};
  UM_CHECK(!out.nouns.empty() && !out.opposites.empty(),
           "{}: no kinds or no opposites of words in WordNet's data files", directory.string());
  return out;
}

}  // namespace um
