// The `decoder` of a tokenizer.json, reduced to what a stream needs: the bytes that each token
// stands for, and what goes of the front of a text. Without one, the pieces are a text with a space
// between.
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

  /// What is to be known of a token beside its text.
  struct Place {
    bool letters =
        false;           // it stands for its own letters, not for bytes in the manner of ByteLevel
    bool first = false;  // of all that a text is decoded from
  };
  /// The bytes that `piece` stands for. Throws Error when the room, which is that of all pieces,
  /// does not do.
  std::string surface(const std::string& piece, Place place, PcreScratch& scratch,
                      TextRoom& room) const;
  /// Whether the first token of a text stands for other bytes than elsewhere.
  bool first_differs() const;
  /// How many spaces at most are dropped at the very start of a decoded text.
  int64_t front_spaces() const { return front_spaces_; }

 private:
  struct Step {
    enum Kind { kByteLevel, kByteFallback, kReplace, kStrip } kind;
    std::vector<Pcre> regex = {};  // one, of kReplace
    std::string text = {};         // kReplace: the replacement; kStrip: what goes
    bool drops_first = false;      // kReplace: nothing replaces matches in the first token
    int64_t count = 0;             // kStrip: how many from the front
  };
  void add(const Json& spec, const std::string& where, int depth);
  void add_strip(const Json& spec, const std::string& where);
  std::vector<Step> steps_;
  bool fused_ = false;  // behind Fuse: steps see the whole text
  int64_t front_spaces_ = 0;
  bool joins_ = false;  // there is no decoder
};

}  // namespace um
