// Divergence from a base: figures and base files against numpy, what damaged files are told, and
// models against their own logits, chunk by chunk.
#include "engine/divergence.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <nlohmann/json.hpp>
#include <random>

#include "core/error.h"
#include "core/files.h"
#include "engine/base_file.h"
#include "engine/compare.h"
#include "tests/cli/program_util.h"
#include "tests/engine/tiny_model_util.h"
#include "tests/text/peer_util.h"

namespace um {
namespace {

using Json = nlohmann::json;
using Rows = std::vector<std::vector<float>>;

constexpr int64_t kContext = 11, kVocab = 37, kChunks = 40;  // odd, so that rows are padded

/// Random tokens, and logits of their scored places: a base, and a model that is near it.
struct Sample {
  std::vector<int32_t> tokens;
  Rows base, model;
};

Sample random_sample() {
  std::mt19937 random(5);
  std::normal_distribution<float> normal(0, 6);  // some probabilities are below what is stored
  Sample sample;
  for (int64_t i = 0; i < kContext * kChunks; ++i)
    sample.tokens.push_back(static_cast<int32_t>(random() % kVocab));
  for (int64_t r = 0; r < kChunks * scored_rows(kContext); ++r) {
    std::vector<float> base(kVocab), model(kVocab);
    for (size_t i = 0; i < base.size(); ++i) {
      base[i] = normal(random);
      model[i] = base[i] + 0.2F * normal(random);
    }
    sample.base.push_back(base);
    sample.model.push_back(model);
  }
  std::fill(sample.base[3].begin(), sample.base[3].end(), 2.0F);  // nothing to choose from
  return sample;
}

std::string written(const Sample& sample) {
  const ScratchDirectory scratch;
  BaseFileWriter writer(scratch / "base", kContext, kVocab, sample.tokens);
  for (const std::vector<float>& logits : sample.base) {
    std::vector<std::byte> row(base_row_bytes(kVocab));
    encode_base_row(logits, row);
    writer.add(row);
  }
  writer.commit();
  return read_file(scratch / "base");
}

BaseFile opened(const std::string& bytes) {
  return {std::as_bytes(std::span(bytes)), "base"};
}

std::string from_hex(const std::string& hex) {
  std::string bytes;
  for (size_t i = 0; i < hex.size(); i += 2)
    bytes += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
  return bytes;
}

Json report_of(const Sample& sample, const BaseFile& base) {
  Divergence all;
  std::vector<double> p(kVocab), q(kVocab);
  for (int64_t row = 0; row < base.rows(); ++row) {
    const int64_t rows = scored_rows(kContext), chunk = row / rows;
    const int64_t place = chunk * kContext + first_scored(kContext) + row % rows;
    base.row(row).log_probs(p);
    log_softmax(sample.model[static_cast<size_t>(row)], q);
    all.add(compare_row(p, q, base.tokens()[static_cast<size_t>(place) + 1]));
  }
  return to_json(all.report());
}

/// Objects with the same names and numbers, nearly.
void expect_near(const Json& found, const Json& expected, const std::string& where) {
  if (expected.is_number()) {
    const double value = expected.get<double>();
    EXPECT_NEAR(found.get<double>(), value, 1e-9 * std::max(1.0, std::abs(value))) << where;
    return;
  }
  ASSERT_EQ(found.size(), expected.size()) << where;
  for (const auto& [name, value] : expected.items()) {
    ASSERT_TRUE(found.contains(name)) << where << name;
    expect_near(found[name], value, where + name + " ");
  }
}

TEST(Divergence, FiguresAndFilesAreThoseOfNumpy) {
  const Sample sample = random_sample();
  const auto reply = ask_python("../engine/divergence_peer.py", {{"context", kContext},
                                                                 {"vocab", kVocab},
                                                                 {"tokens", sample.tokens},
                                                                 {"base", sample.base},
                                                                 {"model", sample.model}});
  if (!reply) GTEST_SKIP() << "Python or its package numpy is missing (set UM_PYTHON)";
  const std::string theirs = from_hex((*reply)["file"]), ours = written(sample);
  EXPECT_EQ(ours, theirs);
  expect_near(report_of(sample, opened(theirs)), (*reply)["report"], "");
}

TEST(Divergence, OfAModelFromItselfIsNothing) {
  Divergence all;
  const std::vector<float> logits = {1, 3, -2};
  std::vector<double> p(3);
  log_softmax(logits, p);
  EXPECT_NEAR(std::exp(p[0]) + std::exp(p[1]) + std::exp(p[2]), 1, 1e-15);
  for (const int32_t target : {0, 1}) all.add(compare_row(p, p, target));
  const DivergenceReport report = all.report();
  EXPECT_EQ(report.tokens, 2);
  EXPECT_EQ(report.kl.max(), 0);
  EXPECT_EQ(report.reverse_kl.max(), 0);
  EXPECT_EQ(report.rms_delta_p.value, 0);
  EXPECT_EQ(report.rms_delta_p.uncertainty, 0);
  EXPECT_EQ(report.same_top.value, 1);
  EXPECT_EQ(report.ratio.value, 1);
  EXPECT_NEAR(report.correlation, 1, 1e-12);
  EXPECT_NEAR(report.perplexity.value, std::exp(-(p[0] + p[1]) / 2), 1e-12);
}

TEST(Divergence, NumbersThatAreNoneAreRefused) {
  const float nan = std::numeric_limits<float>::quiet_NaN(),
              infinity = std::numeric_limits<float>::infinity();
  const std::vector<double> p = {-0.5, -1.0};
  std::vector<double> q(2);
  for (const std::vector<float>& logits :
       {std::vector<float>{nan, 0}, {0, infinity}, {-infinity, -infinity}, {-infinity, 0}}) {
    Divergence all;
    log_softmax(logits, q);
    EXPECT_THROW(all.add(compare_row(p, q, 0)), Error);
  }
  EXPECT_THROW(Divergence().report(), Error);
}

TEST(BaseFile, KeepsWhatIsNear) {
  const Sample sample = random_sample();
  const std::string bytes = written(sample);
  const BaseFile file = opened(bytes);
  EXPECT_EQ(file.context(), kContext);
  EXPECT_EQ(file.vocab(), kVocab);
  EXPECT_EQ(file.chunks(), kChunks);
  EXPECT_EQ(file.tokens(), sample.tokens);
  ASSERT_EQ(file.rows(), std::ssize(sample.base));
  std::vector<double> expected(kVocab), found(kVocab);
  for (int64_t row = 0; row < file.rows(); ++row) {
    log_softmax(sample.base[static_cast<size_t>(row)], expected);
    file.check_sum(row, file.row(row).log_probs(found));
    const double least = *std::max_element(expected.begin(), expected.end()) - 16;
    for (size_t i = 0; i < expected.size(); ++i)
      EXPECT_NEAR(found[i], std::max(expected[i], least), 16.0 / 65535 / 2 + 1e-5);
  }
}

/// The file with the number at `at` replaced.
template <class T>
std::string with(std::string bytes, size_t at, T value) {
  std::memcpy(bytes.data() + at, &value, sizeof value);
  return bytes;
}

void expect_refused(const std::string& bytes, const std::string& part) {
  try {
    const BaseFile file = opened(bytes);
    std::vector<double> log_probs(static_cast<size_t>(file.vocab()));
    for (int64_t row = 0; row < file.rows(); ++row)
      file.check_sum(row, file.row(row).log_probs(log_probs));
    ADD_FAILURE() << "accepted; expected: " << part;
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
  }
}

TEST(BaseFile, DamagedOnesAreRefused) {
  const std::string good = written(random_sample());
  const size_t rows_at = 20 + 4 * kContext * kChunks;
  expect_refused("", "not a file of a base's predictions");
  expect_refused(good.substr(0, 19), "not a file of a base's predictions");
  expect_refused(with(good, 0, 'x'), "not a file of a base's predictions");
  for (const int32_t bad : {-1, 0, 2}) expect_refused(with(good, 8, bad), "chunks of");
  for (const int32_t bad : {-1, 0}) expect_refused(with(good, 12, bad), "a vocabulary of");
  for (const int32_t bad : {-1, 0}) expect_refused(with(good, 16, bad), "chunks of");
  for (const size_t field : {8, 12, 16})
    for (const int32_t large : {1 << 16, 1 << 30, std::numeric_limits<int32_t>::max()})
      expect_refused(with(good, field, large), "are not those of");
  expect_refused(good.substr(0, good.size() - 1), "not written to its end");
  expect_refused(good.substr(0, rows_at), "not written to its end");
  expect_refused(good + "x", "are not those of");
  for (const int32_t bad : {-1, static_cast<int32_t>(kVocab)})
    expect_refused(with(good, 24, bad), "token 1 is");
  const float nan = std::numeric_limits<float>::quiet_NaN(),
              infinity = std::numeric_limits<float>::infinity();
  for (const float bad : {nan, infinity, -1.0F, 1.0F})
    expect_refused(with(good, rows_at, bad), "row 0 has logarithms");
  for (const float bad : {nan, infinity, -infinity, 1.0F})
    expect_refused(with(good, rows_at + 4, bad), "row 0 has logarithms");
}

TEST(BaseFile, ProbabilitiesHaveASum) {
  const std::string good = written(random_sample());
  const size_t rows_at = 20 + 4 * kContext * kChunks;
  for (const float least : {0.0F, -1000.0F, -1e38F})
    expect_refused(with(with(good, rows_at, 0.0F), rows_at + 4, least), "row 0 has");
}

TEST(BaseFile, IsWrittenWholeOrNotAtAll) {
  const ScratchDirectory scratch;
  const std::vector<int32_t> tokens(9);
  EXPECT_THROW(BaseFileWriter(scratch / "base", 2, 5, tokens), Error);
  EXPECT_THROW(BaseFileWriter(scratch / "base", 4, 5, tokens), Error);
  EXPECT_THROW(BaseFileWriter(scratch / "base", 3, 5, {}), Error);
  {
    BaseFileWriter writer(scratch / "base", 3, 5, tokens);
    EXPECT_THROW(writer.commit(), Error);
  }
  EXPECT_FALSE(std::filesystem::exists(scratch / "base"));
}

/// The report from the logits of whole chunks.
DivergenceReport expected_report(const Model& base, const Model& model, const ChunkedText& text) {
  const auto vocab = static_cast<size_t>(base.config().vocab);
  Divergence all;
  std::vector<double> p(vocab), q(vocab);
  for (int64_t chunk = 0; chunk < text.chunks(); ++chunk) {
    const auto begin = text.tokens.begin() + chunk * text.context;
    std::vector<int32_t> ids(begin, begin + text.context);
    if (text.bos >= 0) ids[0] = text.bos;
    const std::vector<float> a = full_logits(base, ids), b = full_logits(model, ids);
    for (size_t t = ids.size() / 2; t + 1 < ids.size(); ++t) {
      log_softmax(std::span(a).subspan(t * vocab, vocab), p);
      log_softmax(std::span(b).subspan(t * vocab, vocab), q);
      all.add(compare_row(p, q, ids[t + 1]));
    }
  }
  return all.report();
}

TEST(CompareWithBase, ScoresTheSecondHalfOfEveryChunk) {
  const ScratchDirectory scratch;
  const auto base = random_model("nano-ultra", 1), model = random_model("nano-ultra", 2);
  const int64_t vocab = base->config().vocab;
  for (const int64_t context : {3, 8, 13}) {
    for (const bool has_bos : {false, true}) {
      std::vector<int32_t> ids = random_ids(70, vocab, 4);
      const int32_t bos = has_bos ? ids[0] : -1;
      const ChunkedText text = ChunkedText::cut(ids, context, bos);
      EXPECT_EQ(text.chunks(), 70 / context);
      const Estimate perplexity =
          save_base_file(*base, text, scratch / "base", {.batch_tokens = 20});
      const BaseFile file(scratch / "base");
      const DivergenceReport found = compare_with_base(*model, file, ids[0] + (has_bos ? 0 : 1));
      const DivergenceReport expected = expected_report(*base, *model, text);
      EXPECT_EQ(found.tokens, text.scored());
      EXPECT_EQ(found.tokens, expected.tokens);
      // What the file rounds is up to 1.2e-4 per logarithm.
      EXPECT_NEAR(found.kl.mean.value, expected.kl.mean.value, 2e-4);
      EXPECT_NEAR(found.reverse_kl.mean.value, expected.reverse_kl.mean.value, 2e-4);
      EXPECT_NEAR(found.perplexity.value / expected.perplexity.value, 1, 1e-4);
      EXPECT_NEAR(perplexity.value / expected.base_perplexity.value, 1, 1e-4);
      EXPECT_NEAR(found.base_perplexity.value / expected.base_perplexity.value, 1, 2e-4);
    }
  }
}

TEST(CompareWithBase, TakesTheFirstChunks) {
  const ScratchDirectory scratch;
  const auto base = random_model("nano-ultra", 1), model = random_model("nano-ultra", 2);
  const std::vector<int32_t> ids = random_ids(64, base->config().vocab);
  save_base_file(*base, ChunkedText::cut(ids, 16, -1), scratch / "all");
  save_base_file(*base, ChunkedText::cut(ids, 16, -1, 2), scratch / "two");
  const Json of_two = to_json(compare_with_base(*model, BaseFile(scratch / "two"), -1));
  EXPECT_EQ(of_two["tokens"], 14);
  EXPECT_EQ(Json(to_json(compare_with_base(*model, BaseFile(scratch / "all"), -1, 2))), of_two);
}

TEST(CompareWithBase, WhatDoesNotFitIsRefused) {
  const ScratchDirectory scratch;
  const auto model = random_model("nano-ultra");
  const int64_t vocab = model->config().vocab;
  const std::vector<int32_t> ids = random_ids(64, vocab);
  EXPECT_THROW(ChunkedText::cut(ids, 65, -1), Error);
  EXPECT_THROW(ChunkedText::cut(ids, 2, -1), Error);
  ChunkedText text = ChunkedText::cut(ids, 16, -1);
  text.tokens[3] = static_cast<int32_t>(vocab);
  EXPECT_THROW(save_base_file(*model, text, scratch / "base"), Error);
  const std::vector<int32_t> few(kContext * kChunks);
  const std::string other = written({few, random_sample().base, {}});
  EXPECT_THROW(compare_with_base(*model, opened(other), -1), Error);  // another vocabulary
}

}  // namespace
}  // namespace um
