// The `decoder` of a tokenizer.json, reduced to what a stream needs: the bytes that each token
// stands for, and whether the first space of a text goes. Without one, the pieces are a text with
// a space between.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/json.h"
#include "text/pcre.h"
#include "text/text_room.h"

namespace um {

/// The byte-level alphabet of GPT-2: every byte as one printable character.
std::string bytes_to_byte_level(std::string_view bytes);
/// The other way; nothing if `text` has a character outside the alphabet.
std::optional<std::string> byte_level_to_bytes(std::string_view text);

/// NN of a `<0xNN>` piece, else -1.
int byte_of_piece(std::string_view piece);

class Decoder {
 public:
  /// `spec`: the JSON value, which may be null. Throws Error `WHERE: ...` for kinds that are not
  /// known or cannot be streamed.
  Decoder(const Json& spec, const std::string& where);

  /// The bytes that `piece` stands for. Throws Error when the room, which is that of all pieces,
  /// does not do.
  std::string surface(const std::string& piece, PcreScratch& scratch, TextRoom& room) const;
  /// True if a space at the very start of a decoded text is dropped.
  bool strips_first_space() const { return strips_first_space_; }
  /// There is no decoder: added tokens have the space in front, too.
  bool joins() const { return joins_; }

 private:
  struct Step {
    enum Kind { kByteLevel, kByteFallback, kReplace, kStrip } kind;
    std::vector<Pcre> regex = {};  // one, of kReplace
    std::string text = {};         // kReplace: the replacement; kStrip: what goes
    int64_t count = 0;             // kStrip: how many from the front
  };
  void add(const Json& spec, const std::string& where, int depth);
  void add_strip(const Json& spec, const std::string& where);
  std::vector<Step> steps_;
  bool fused_ = false;  // behind Fuse: steps see the whole text
  bool strips_first_space_ = false, joins_ = false;
};

}  // namespace um
