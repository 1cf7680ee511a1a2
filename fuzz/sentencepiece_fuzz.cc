// Fuzzes SentencePiece models, which the library parses: our reader refuses one with Error, or
// gives a tokenizer that encodes and decodes any text with ids of its vocabulary.
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"
#include "text/tokenizer.h"
#include "text/utf8.h"

namespace {

// Fields of a protocol buffer.

std::string varint(size_t value) {
  std::string out;
  for (; value >= 0x80; value >>= 7) out += static_cast<char>(value | 0x80);
  return out + static_cast<char>(value);
}
std::string number(size_t field, size_t value) {
  return varint(field << 3) + varint(value);
}
std::string bytes(size_t field, const std::string& value) {
  return varint(field << 3 | 2) + varint(value.size()) + value;
}

std::string piece(const std::string& text, float score, size_t type) {
  std::string bits(sizeof score, '\0');
  std::memcpy(bits.data(), &score, sizeof score);
  return bytes(1, bytes(1, text) + varint(2 << 3 | 5) + bits + number(3, type));
}

/// A table of rewritings that knows one: "A" becomes "b". A double array (Darts) of 256 units: the
/// root, the unit of its child "A", and the value there.
std::string charsmap() {
  std::vector<uint32_t> units(256);
  constexpr uint32_t kLetter = 'A', kLeaf = 1u << 31, kHasLeaf = 1u << 8;
  units[0] = 128 << 10;                                     // children of the root at 128 ^ letter
  units[128 ^ kLetter] = (32u << 10) | kHasLeaf | kLetter;  // its value at (128 ^ 'A') ^ 32
  units[(128 ^ kLetter) ^ 32u] = kLeaf | 0;                 // the text at 0
  const auto size = static_cast<uint32_t>(units.size() * sizeof(uint32_t));
  std::string out(sizeof size + size, '\0');
  std::memcpy(out.data(), &size, sizeof size);
  std::memcpy(out.data() + sizeof size, units.data(), size);
  return out + std::string("b\0", 2);
}

/// `type`: 1 unigram, 2 BPE, 3 words, 4 characters. With a table of rewritings, or with bytes.
std::string model(size_t type, bool with_table) {
  std::string out = piece("<unk>", 0, 2) + piece("<s>", 0, 3) + piece("</s>", 0, 3);
  for (const char* text : {"\xE2\x96\x81", "a", "b", "ab", "\xE2\x96\x81\x61"})
    out += piece(text, -1, 1);
  out += piece("[unused9]", 0, 4);
  for (int byte = 0; byte < 256 && !with_table; ++byte)
    out += piece(fmt::format("<0x{:02X}>", byte), 0, 6);
  out += bytes(2, number(3, type) + number(35, with_table ? 0 : 1) + number(40, 0) + number(41, 1) +
                      number(42, 2));
  return out + bytes(3, (with_table ? bytes(2, charsmap()) : "") + number(3, 1) + number(4, 0) +
                            number(5, 1));
}

}  // namespace

std::vector<std::string> fuzz_seeds() {
  std::vector<std::string> seeds;
  for (size_t type = 1; type <= 4; ++type)
    for (const bool with_table : {false, true}) {
      seeds.push_back(model(type, with_table));
      um::Tokenizer::parse(seeds.back(), "", "seed");  // throws unless it is valid
    }
  return seeds;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    const um::Tokenizer tokenizer =
        um::Tokenizer::parse(std::string(reinterpret_cast<const char*>(data), size), "", "fuzz");
    for (const std::string_view text :
         {std::string_view("ab A\xC3\xA9 [unused9] <0x41> \xE2\x96\x81\xE9\x97\xA8  a"),
          std::string_view(reinterpret_cast<const char*>(data), size).substr(0, 100)}) {
      const std::vector<int32_t> ids = tokenizer.encode(text);
      for (const int32_t id : ids) {
        if (id < 0 || id >= tokenizer.vocab_size()) std::abort();
        if (tokenizer.is_special(id) && id != tokenizer.unk_id()) std::abort();
      }
      if (tokenizer.encode(text) != ids || !um::is_utf8(tokenizer.decode(ids, false))) std::abort();
    }
  } catch (const um::Error&) {
  }
  return 0;
}
