// The loader: every transition once per epoch, ragged invariants, mixing, exact resume, ranks.
#include "data/loader.h"

#include <map>
#include <set>

#include "data/permutation.h"
#include "tests/data/data_test_util.h"

namespace um {
namespace {

namespace fs = std::filesystem;

TEST(Permutation, IsABijectionThatMoves) {
  for (const uint64_t n : {1ull, 2ull, 3ull, 5ull, 64ull, 1000ull, 4097ull}) {
    const Permutation permutation(n, 42), other(n, 43);
    std::set<uint64_t> seen;
    uint64_t fixed = 0, same = 0;
    for (uint64_t i = 0; i < n; ++i) {
      const uint64_t image = permutation(i);
      EXPECT_LT(image, n);
      seen.insert(image);
      fixed += image == i;
      same += image == other(i);
    }
    EXPECT_EQ(seen.size(), n);
    if (n >= 64) {
      EXPECT_LT(fixed, 12u);
      EXPECT_LT(same, 12u);
    }
  }
  const Permutation large(uint64_t{1} << 40, 7);
  EXPECT_LT(large((uint64_t{1} << 40) - 1), uint64_t{1} << 40);
}

class LoaderTest : public ScratchTest {
 protected:
  LoaderOptions options(std::vector<SourceOptions> sources) const {
    LoaderOptions options;
    options.sources = std::move(sources);
    options.batch = 4;
    options.seq_len = 16;
    return options;
  }
};

using Transition = std::pair<int32_t, int32_t>;
using Transitions = std::map<Transition, int64_t>;

/// All (token, next token) of a split.
Transitions transitions(const Dataset& dataset, bool val) {
  Transitions all;
  std::vector<int32_t> document;
  for (const TokenShard& shard : dataset.shards(val)) {
    for (uint64_t d = 0; d < shard.documents(); ++d) {
      document.clear();
      shard.read(d, 0, shard.length(d), document);
      for (size_t i = 1; i < document.size(); ++i) ++all[{document[i - 1], document[i]}];
    }
  }
  return all;
}

void check_shape(const Batch& batch, int64_t seq_len) {
  const auto size = static_cast<size_t>(batch.size());
  ASSERT_EQ(batch.targets.size(), size);
  ASSERT_EQ(batch.positions.size(), size);
  ASSERT_EQ(batch.seq_offsets.front(), 0);
  ASSERT_EQ(batch.seq_offsets.back(), batch.size());
  for (int64_t s = 0; s < batch.sequences(); ++s) {
    const int64_t begin = batch.seq_offsets[static_cast<size_t>(s)];
    const int64_t end = batch.seq_offsets[static_cast<size_t>(s) + 1];
    ASSERT_LT(begin, end);
    ASSERT_LE(end - begin, seq_len);
    for (int64_t t = begin; t < end; ++t) {
      const auto i = static_cast<size_t>(t);
      EXPECT_EQ(batch.positions[i], t - begin);
      if (t + 1 < end) {
        EXPECT_EQ(batch.targets[i], batch.tokens[i + 1]);
      }
    }
  }
}

TEST_F(LoaderTest, AnEpochHasEveryTransitionOnce) {
  const fs::path corpus = pack("a", 300);
  Loader loader(options({{corpus}}));
  Transitions left = transitions(Dataset(corpus), false);
  Batch batch;
  while (loader.epochs(0) < 1) {
    ASSERT_TRUE(loader.next(batch));
    EXPECT_EQ(batch.size(), 64);
    check_shape(batch, 16);
    if (loader.epochs(0) >= 1) break;  // this batch may begin the next epoch
    for (size_t i = 0; i < batch.tokens.size(); ++i) --left[{batch.tokens[i], batch.targets[i]}];
  }
  int64_t missing = 0;
  for (const auto& [transition, count] : left) {
    EXPECT_GE(count, 0) << transition.first << " " << transition.second;
    missing += count;
  }
  EXPECT_LE(missing, 64 + 16);  // what the last batch and the chunk it began hold
}

TEST_F(LoaderTest, OnePassHasEachTransitionOnce) {
  const fs::path corpus = pack("a", 300);
  LoaderOptions with = options({{corpus}});
  with.one_pass = true;
  Loader loader(with);
  Transitions left = transitions(Dataset(corpus), false);
  Batch batch;
  while (loader.next(batch))
    for (size_t i = 0; i < batch.tokens.size(); ++i) --left[{batch.tokens[i], batch.targets[i]}];
  for (const auto& [transition, count] : left) EXPECT_EQ(count, 0);
}

TEST_F(LoaderTest, ValidationIsOnePassInOneOrder) {
  const fs::path corpus = pack("a", 300);
  LoaderOptions with = options({{corpus}});
  with.val = with.one_pass = true;
  Loader loader(with);
  Transitions left = transitions(Dataset(corpus), true);
  Batch batch;
  std::vector<int32_t> first, second, other_seed;
  while (loader.next(batch)) {
    check_shape(batch, 16);
    for (size_t i = 0; i < batch.tokens.size(); ++i) --left[{batch.tokens[i], batch.targets[i]}];
    first.insert(first.end(), batch.tokens.begin(), batch.tokens.end());
  }
  for (const auto& [transition, count] : left) EXPECT_EQ(count, 0);
  EXPECT_FALSE(loader.next(batch));
  loader.rewind();
  while (loader.next(batch)) second.insert(second.end(), batch.tokens.begin(), batch.tokens.end());
  EXPECT_EQ(first, second);
  with.seed = 99;
  Loader other(with);
  while (other.next(batch)) {
    other_seed.insert(other_seed.end(), batch.tokens.begin(), batch.tokens.end());
  }
  EXPECT_EQ(first, other_seed);
}

TEST_F(LoaderTest, SeedsAndEpochsGiveDifferentOrders) {
  const fs::path corpus = pack("a", 100);
  const auto epoch = [&](uint64_t seed, int skip) {
    LoaderOptions with = options({{corpus}});
    with.seed = seed;
    with.batch = 8;
    Loader loader(with);
    Batch batch;
    while (loader.epochs(0) < skip) loader.next(batch);
    loader.next(batch);
    return batch.tokens;
  };
  EXPECT_EQ(epoch(1, 0), epoch(1, 0));
  EXPECT_NE(epoch(1, 0), epoch(2, 0));
  EXPECT_NE(epoch(1, 0), epoch(1, 1));
}

TEST_F(LoaderTest, ResumesAtTheExactToken) {
  const std::vector<SourceOptions> sources = {{pack("a", 60), 3}, {pack("b", 80, 60), 1}};
  Loader whole(options(sources));
  Batch expected, got;
  for (int step = 0; step < 60; ++step) {
    const Json state = parse_json(to_text(whole.state()), "state");
    Loader resumed(options(sources));
    resumed.restore(state);
    EXPECT_EQ(resumed.state(), whole.state());
    ASSERT_TRUE(whole.next(expected));
    ASSERT_TRUE(resumed.next(got));
    EXPECT_EQ(got.tokens, expected.tokens) << step;
    EXPECT_EQ(got.seq_offsets, expected.seq_offsets);
    EXPECT_EQ(resumed.tokens(), whole.tokens());
  }
  EXPECT_GT(whole.epochs(0), 1.0);
}

TEST_F(LoaderTest, RefusesForeignStates) {
  const fs::path a = pack("a", 60), b = pack("b", 80, 60);
  Loader loader(options({{a}}));
  Batch batch;
  Json good;
  do {
    loader.next(batch);
    good = loader.state();
  } while (good["chunk"].is_null());  // until a batch cuts a chunk
  const auto with = [&](const std::string& path, const Json& value) {
    Json state = good;
    state[Json::json_pointer(path)] = value;
    return error_of([&] {
      loader.restore(state);
      loader.next(batch);
    });
  };
  EXPECT_EQ(with("/seed", 1), "no error");
  EXPECT_NE(with("/seed", 2).find("seed"), std::string::npos);
  EXPECT_NE(with("/seq_len", 32).find("seq_len"), std::string::npos);
  EXPECT_NE(with("/val", true).find("split"), std::string::npos);
  EXPECT_NE(with("/sources", Json::array()).find("sources"), std::string::npos);
  EXPECT_NE(with("/sources/0/cursor", 1 << 20).find("cursor"), std::string::npos);
  EXPECT_NE(with("/sources/0/epoch", -1).find("epoch"), std::string::npos);
  EXPECT_NE(with("/chunk/source", 1).find("source"), std::string::npos);
  EXPECT_NE(with("/chunk/chunk", 1 << 20).find("chunk"), std::string::npos);
  EXPECT_NE(with("/chunk/done", 16).find("done"), std::string::npos);
  EXPECT_NE(with("/corpora", "00000000").find("same data"), std::string::npos);
  Loader other(options({{b}}));
  EXPECT_NE(error_of([&] { other.restore(good); }).find("same data"), std::string::npos);
}

TEST_F(LoaderTest, MixesByWeightInTokens) {
  const std::vector<SourceOptions> sources = {{pack("a", 200), 3}, {pack("b", 200, 200), 1}};
  Loader loader(options(sources));
  Batch batch;
  for (int step = 0; step < 100; ++step) loader.next(batch);
  const Json state = loader.state();
  const auto a = state["sources"][0]["drawn"].get<double>();
  const auto b = state["sources"][1]["drawn"].get<double>();
  EXPECT_EQ(a + b, 6400);
  EXPECT_NEAR(a / b, 3.0, 0.1);
}

TEST_F(LoaderTest, RanksShareTheStreamOfOne) {
  const fs::path corpus = pack("a", 200);
  Loader one(options({{corpus}}));
  std::vector<Loader> ranks;
  for (int64_t r = 0; r < 3; ++r) {
    LoaderOptions with = options({{corpus}});
    with.rank = r;
    with.world = 3;
    ranks.emplace_back(with);
  }
  Batch expected, got;
  for (int step = 0; step < 5; ++step) {
    for (Loader& rank : ranks) {
      one.next(expected);
      rank.next(got);
      EXPECT_EQ(got.tokens, expected.tokens);
    }
  }
  EXPECT_EQ(ranks[0].state(), one.state());
  EXPECT_EQ(ranks[2].state(), one.state());
}

TEST_F(LoaderTest, NamesWhatIsWrong) {
  const fs::path corpus = pack("a", 5);
  EXPECT_NE(error_of([&] { Loader(options({})); }).find("no corpora"), std::string::npos);
  EXPECT_NE(error_of([&] { Loader(options({{dir_}})); }).find("manifest.json"), std::string::npos);
  EXPECT_NE(error_of([&] { Loader(options({{corpus, -1}})); }).find("weight"), std::string::npos);
  LoaderOptions with = options({{corpus}});
  with.seq_len = 0;
  EXPECT_NE(error_of([&] { Loader loader(with); }).find("seq_len 0"), std::string::npos);
  with.seq_len = 8;
  with.rank = 1;
  EXPECT_NE(error_of([&] { Loader loader(with); }).find("rank 1 of 1"), std::string::npos);
}

}  // namespace
}  // namespace um
