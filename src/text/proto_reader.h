// Reads the fields of a protocol buffer one by one. The bytes are hostile.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "core/error.h"

namespace um {

struct ProtoField {
  uint32_t number = 0;
  uint64_t value = 0;      // of a varint
  std::string_view bytes;  // of all other kinds
};

class ProtoReader {
 public:
  /// `name` is for errors.
  ProtoReader(std::string_view bytes, const std::string& name) : rest_(bytes), name_(name) {}

  /// Goes on to the next field; false at the end. Throws Error for what is no protocol buffer.
  bool next(ProtoField& field) {
    if (rest_.empty()) return false;
    const uint64_t key = varint();
    field = {.number = static_cast<uint32_t>(key >> 3), .value = 0, .bytes = {}};
    switch (key & 7) {
      case 0:
        field.value = varint();
        break;
      case 1:
        field.bytes = take(8);
        break;
      case 2:
        field.bytes = take(varint());
        break;
      case 5:
        field.bytes = take(4);
        break;
      default:
        broken();
    }
    return true;
  }

 private:
  uint64_t varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const auto byte = static_cast<uint8_t>(take(1)[0]);
      value |= static_cast<uint64_t>(byte & 0x7F) << shift;
      if (byte < 0x80) return value;
    }
    broken();
  }
  std::string_view take(uint64_t count) {
    if (count > rest_.size()) broken();
    const std::string_view taken = rest_.substr(0, count);
    rest_.remove_prefix(count);
    return taken;
  }
  [[noreturn]] void broken() const { fail("{}: not a SentencePiece model", name_); }

  std::string_view rest_;
  const std::string& name_;
};

}  // namespace um
