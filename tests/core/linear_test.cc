// Parsers of files: the time is linear in the input (json_test.cc has JSON itself).
#include <gtest/gtest.h>

#include <cstring>

#include "core/error.h"
#include "core/fields.h"
#include "core/gguf.h"
#include "core/json.h"
#include "core/safetensors.h"
#include "tests/core/linear_util.h"

namespace um {
namespace {

/// `size` times `part`, with its number in place of each #.
std::string numbered(size_t size, const std::string& part) {
  std::string text;
  for (size_t i = 0; i < size; ++i)
    for (const char c : part) c == '#' ? text += std::to_string(i) : text += c;
  return text;
}

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text));
}

TEST(LinearTest, SafetensorsHeaders) {
  const auto make = [](size_t size) {
    std::string header =
        "{" +
        numbered(size, R"("layers.#.weight":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},)");
    header.back() = '}';
    std::string file(8, '\0');
    const uint64_t length = header.size();
    std::memcpy(file.data(), &length, 8);
    return file + header;
  };
  expect_linear(10000, make,
                [](const std::string& file) { parse_safetensors(bytes_of(file), "t"); });
}

class GgufText {
 public:
  template <class T>
  GgufText& number(T value) {
    text.append(reinterpret_cast<const char*>(&value), sizeof(value));
    return *this;
  }
  GgufText& string(const std::string& value) {
    number<uint64_t>(value.size());
    text += value;
    return *this;
  }
  std::string text = "GGUF";
};

TEST(LinearTest, GgufValuesAndTensors) {
  const auto make = [](size_t size) {
    GgufText file;
    file.number<uint32_t>(3).number<uint64_t>(size).number<uint64_t>(size);
    for (size_t i = 0; i < size; ++i)
      file.string("key." + std::to_string(i)).number<uint32_t>(4).number<uint32_t>(1);
    for (size_t i = 0; i < size; ++i)
      file.string("tensor." + std::to_string(i))
          .number<uint32_t>(1)
          .number<uint64_t>(0)
          .number<uint32_t>(0)
          .number<uint64_t>(0);
    return file.text;
  };
  expect_linear(10000, make, [](const std::string& file) { Gguf(bytes_of(file), "t"); });
}

TEST(LinearTest, GgufArraysOfStrings) {
  const auto make = [](size_t size) {
    GgufText file;
    file.number<uint32_t>(3).number<uint64_t>(0).number<uint64_t>(1).string("tokens");
    file.number<uint32_t>(9).number<uint32_t>(8).number<uint64_t>(size);
    for (size_t i = 0; i < size; ++i) file.string("token" + std::to_string(i));
    return file.text;
  };
  expect_linear(100000, make,
                [](const std::string& file) { Gguf(bytes_of(file), "t").strings("tokens"); });
}

struct Lists {
  std::vector<std::string> names;
  std::vector<double> weights;
  void fields(Fields& f) {
    f.add("names", names, "names");
    f.add("weights", weights, "weights");
  }
};

TEST(LinearTest, Toml) {
  const std::string parts[] = {"key# = 1\n", "[table#]\na = 1\n", "[[tables]]\na = 1\n",
                               "a.b.c# = \"x\"\n", "a# = [1, [2, 3], {b = 4}]\n"};
  for (const std::string& part : parts) {
    SCOPED_TRACE(part);
    expect_linear(
        3000, [&](size_t size) { return numbered(size, part); },
        [](const std::string& text) { parse_toml(text, "t"); });
  }
  expect_linear(
      10000, [](size_t size) { return "weights = [" + numbered(size, "#,") + "]"; },
      [](const std::string& text) {
        Lists lists;
        Fields fields;
        lists.fields(fields);
        fields.read(parse_toml(text, "t"), "t");
      });
}

}  // namespace
}  // namespace um
