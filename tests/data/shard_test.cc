// Token shards: round trip in both widths, every kind of damage is an Error.
#include "data/shard.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>

#include "core/error.h"
#include "tests/data/data_test_util.h"

namespace um {
namespace {

std::string make_shard(uint32_t vocab) {
  ShardWriter writer(vocab);
  writer.add(std::vector<int32_t>{1, 2, 3});
  writer.add(std::vector<int32_t>{static_cast<int32_t>(vocab) - 1});
  writer.add(std::vector<int32_t>{5, 6});
  return writer.bytes();
}

TokenShard open(const std::string& bytes) {
  return TokenShard(std::as_bytes(std::span(bytes)), "shard");
}

TEST(Shard, RoundTripsInBothWidths) {
  for (const uint32_t vocab : {100u, 65536u, 65537u, 153600u}) {
    const std::string bytes = make_shard(vocab);
    const TokenShard shard = open(bytes);
    EXPECT_EQ(shard.bytes_per_token(), vocab <= 65536 ? 2u : 4u);
    EXPECT_EQ(bytes.size(), 64 + 4 * 8 + 6 * shard.bytes_per_token());
    EXPECT_EQ(shard.documents(), 3u);
    EXPECT_EQ(shard.tokens(), 6u);
    EXPECT_EQ(shard.length(0), 3u);
    std::vector<int32_t> out;
    shard.read(0, 1, 2, out);
    shard.read(1, 0, 1, out);
    EXPECT_EQ(out, (std::vector<int32_t>{2, 3, static_cast<int32_t>(vocab) - 1}));
    EXPECT_THROW(shard.read(3, 0, 1, out), Error);
    EXPECT_THROW(shard.read(0, 2, 2, out), Error);
    EXPECT_THROW(shard.read(0, 4, 0, out), Error);
    EXPECT_THROW(shard.read(0, ~uint64_t{0}, 2, out), Error);
  }
}

TEST(Shard, WriterRefusesBadDocuments) {
  ShardWriter writer(10);
  EXPECT_THROW(writer.add(std::vector<int32_t>{}), Error);
  EXPECT_THROW(writer.add(std::vector<int32_t>{10}), Error);
  EXPECT_THROW(writer.add(std::vector<int32_t>{-1}), Error);
}

TEST(Shard, RefusesDamage) {
  const std::string good = make_shard(100);
  for (size_t size = 0; size < good.size(); ++size) {
    EXPECT_THROW(open(good.substr(0, size)), Error) << size;
  }
  EXPECT_THROW(open(good + "x"), Error);
  const auto with = [&](size_t at, uint64_t value, size_t width) {
    std::string bytes = good;
    std::memcpy(bytes.data() + at, &value, width);
    return bytes;
  };
  const auto message = [&](const std::string& bytes) { return error_of([&] { open(bytes); }); };
  EXPECT_NE(message(with(0, 0, 8)).find("magic"), std::string::npos);
  EXPECT_NE(message(with(8, 2, 4)).find("version 2"), std::string::npos);
  EXPECT_NE(message(with(12, 3, 4)).find("3 bytes per token"), std::string::npos);
  EXPECT_NE(message(with(16, 0, 4)).find("vocabulary of 0"), std::string::npos);
  EXPECT_NE(message(with(24, ~uint64_t{0}, 8)).find("do not fit"), std::string::npos);
  EXPECT_NE(message(with(24, ~uint64_t{0} / 8, 8)).find("do not fit"), std::string::npos);
  EXPECT_NE(message(with(32, uint64_t{1} << 63, 8)).find("do not fit"), std::string::npos);
  EXPECT_NE(message(with(64, 1, 8)).find("offsets span"), std::string::npos);
  EXPECT_NE(message(with(72, 5, 8)).find("document 1"), std::string::npos);
  EXPECT_NE(message(with(72, ~uint64_t{0}, 8)).find("document 1"), std::string::npos);
  const std::string wild = with(96, 100, 2);  // the first token is not in the vocabulary
  std::vector<int32_t> out;
  EXPECT_NE(error_of([&] { open(wild).read(0, 0, 1, out); }).find("token id 100"),
            std::string::npos);
}

}  // namespace
}  // namespace um
