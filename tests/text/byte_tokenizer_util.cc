// See byte_tokenizer_util.h.
#include "tests/text/byte_tokenizer_util.h"

#include <nlohmann/json.hpp>

namespace um {
namespace {

/// The character that stands for a byte in byte-level vocabularies.
std::string letter_of(int byte) {
  const auto plain = [](int b) {
    return (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || (b >= 174 && b <= 255);
  };
  int code = byte;
  if (!plain(byte)) {
    code = 256;
    for (int b = 0; b < byte; ++b) code += plain(b) ? 0 : 1;
  }
  if (code < 128) return std::string(1, static_cast<char>(code));
  return {static_cast<char>(0xC0 | code >> 6), static_cast<char>(0x80 | (code & 63))};
}

}  // namespace

std::string byte_tokenizer_json(const std::vector<std::string>& specials) {
  nlohmann::json added = nlohmann::json::array(), vocab = nlohmann::json::object();
  for (int byte = 0; byte < 256; ++byte) vocab[letter_of(byte)] = byte;
  for (size_t i = 0; i < specials.size(); ++i)
    added.push_back({{"id", 256 + i}, {"content", specials[i]}, {"special", true}});
  return nlohmann::json{
      {"added_tokens", added},
      {"pre_tokenizer", {{"type", "ByteLevel"}, {"add_prefix_space", false}}},
      {"decoder", {{"type", "ByteLevel"}}},
      {"model", {{"type", "BPE"}, {"vocab", vocab}, {"merges", nlohmann::json::array()}}}}
      .dump();
}

Tokenizer byte_tokenizer(const std::vector<std::string>& specials, const std::string& config) {
  return Tokenizer::from_json(byte_tokenizer_json(specials), config, "byte tokenizer");
}

}  // namespace um
