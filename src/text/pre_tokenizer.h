// The `pre_tokenizer` of a tokenizer.json: how a text is split into the words that BPE sees.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "core/json.h"
#include "text/pcre.h"
#include "text/text_room.h"

namespace um {

class PreTokenizer {
 public:
  using Sink = std::function<void(std::string_view)>;

  /// `spec`: the JSON value, null for none (the text is one word). Throws Error `WHERE: ...` for
  /// kinds that are not known.
  PreTokenizer(const Json& spec, const std::string& where);

  /// Gives the words of `text` (valid UTF-8) to `sink`, in order. `lead`: how many of its bytes
  /// come from the first character of a document; 0 for others. Throws Error when the room does not
  /// do.
  void split(std::string_view text, size_t lead, PcreScratch& scratch, TextRoom& room,
             const Sink& sink) const;

  /// True if words are sequences of bytes (ByteLevel), false if of characters.
  bool byte_level() const { return byte_level_; }
  /// True if parts of a text may belong to no word.
  bool drops() const;

 private:
  enum class Behavior { kRemoved, kIsolated, kMergedWithPrevious, kMergedWithNext, kContiguous };
  struct Step {
    enum Kind { kSplit, kPrefixSpace, kMetaspace } kind = kSplit;
    std::vector<Pcre> regex = {};  // one, of kSplit
    Behavior behavior = Behavior::kIsolated;
    bool invert = false;
    std::string mark = {};                               // kMetaspace: what stands for a space
    enum { kAlways, kFirst, kNever } prepend = kAlways;  // kMetaspace
  };
  /// One call of split().
  struct Run {
    PcreScratch& scratch;
    TextRoom& room;
    const Sink& sink;
  };
  static Behavior behavior_of(const std::string& name, const std::string& where);
  void add(const Json& spec, const std::string& where, int depth);
  void add_split(std::string_view pattern, Behavior behavior, const std::string& where,
                 bool invert = false);
  void add_byte_level(const Json& spec, const std::string& where);
  void add_metaspace(const Json& spec, const std::string& where);
  void run(std::string_view text, size_t lead, size_t index, Run& run) const;
  void run_split(std::string_view text, size_t lead, size_t index, Run& run) const;
  void run_metaspace(std::string_view text, size_t lead, size_t index, Run& run) const;

  std::vector<Step> steps_;
  bool byte_level_ = false;
};

}  // namespace um
