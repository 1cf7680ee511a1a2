// The `normalizer` of a tokenizer.json: what is done to a text before it is split.
#pragma once

#include <string>
#include <vector>

#include "core/json.h"
#include "text/pcre.h"
#include "text/text_room.h"
#include "text/unicode.h"

namespace um {

/// Unicode normal forms, replacements, a text put in front.
class Normalizer {
 public:
  /// `spec`: the JSON value, null for none. Throws Error `WHERE: ...` for kinds that are not known.
  Normalizer(const Json& spec, const std::string& where);

  bool empty() const { return steps_.empty(); }
  /// Some step may leave less than a quarter of a text.
  bool shrinks() const;
  /// Normalises valid UTF-8. `lead`, if given, goes from how many bytes of `text` the first
  /// character of a document has to how many of the result come from it: the others may be gone, or
  /// joined with what follows. Throws Error when the room does not do.
  std::string apply(std::string text, PcreScratch& scratch, TextRoom& room,
                    size_t* lead = nullptr) const;

 private:
  struct Step {
    enum Kind { kForm, kReplace, kPrepend, kLower, kStrip, kStripAccents } kind;
    NormalForm form;          // of kForm
    std::string text;         // replacement, or what to prepend
    std::vector<Pcre> regex;  // one, of kReplace
    bool left = false, right = false;
  };
  void add(const Json& spec, const std::string& where, int depth);
  static std::string run(const Step& step, const std::string& text, bool whole);
  std::vector<Step> steps_;
};

/// A `pattern` of a tokenizer.json, `{"String": "..."}` or `{"Regex": "..."}`.
Pcre read_pattern(const Json& object, const std::string& where);

/// `text` with every match replaced. `lead` as in Normalizer::apply: what replaces a match comes
/// from the match's last character.
std::string replace_all(const std::string& text, const Pcre& regex, std::string_view with,
                        PcreScratch& scratch, TextRoom& room, size_t* lead = nullptr);

}  // namespace um
