// See base_file.h.
#include "engine/base_file.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "core/error.h"
#include "core/load.h"
#include "engine/divergence.h"

namespace um {
namespace {

static_assert(std::endian::native == std::endian::little, "base files are read in place");

constexpr char kMagic[] = "_logits_";
constexpr uint64_t kHeaderBytes = 20;
/// How far below the most likely token's logarithm one is told apart.
constexpr double kRange = 16;
constexpr double kSteps = std::numeric_limits<uint16_t>::max();
/// A logarithm of a probability may be so far above 0 by rounding.
constexpr double kTolerance = 0.01;

template <class T>
void store(std::byte* to, const T& value) {
  std::memcpy(to, &value, sizeof value);
}

}  // namespace

uint64_t base_row_bytes(int64_t vocab) {
  return 2 * sizeof(float) + sizeof(uint16_t) * (static_cast<uint64_t>(vocab + 1) / 2 * 2);
}

void encode_base_row(std::span<const float> logits, std::span<std::byte> out) {
  const auto [least_at, most_at] = std::minmax_element(logits.begin(), logits.end());
  const auto most = static_cast<double>(*most_at);
  const double least = std::max(static_cast<double>(*least_at), most - kRange);
  const auto scale = static_cast<float>((most - least) / kSteps);
  std::fill(out.begin(), out.end(), std::byte{0});
  store(out.data(), scale);
  store(out.data() + sizeof(float), static_cast<float>(least - log_total(logits)));
  if (scale == 0) return;
  std::byte* code = out.data() + 2 * sizeof(float);
  for (const float logit : logits) {
    const double steps = (static_cast<double>(logit) - least) / static_cast<double>(scale);
    store(code, static_cast<uint16_t>(std::nearbyint(std::clamp(steps, 0.0, kSteps))));
    code += sizeof(uint16_t);
  }
}

double BaseRow::log_probs(std::span<double> out) const {
  const std::byte* code = codes;
  double sum = 0;
  for (double& log_p : out) {
    log_p = scale * static_cast<double>(load<uint16_t>(code)) + least;
    sum += std::exp(log_p);
    code += sizeof(uint16_t);
  }
  return sum;
}

BaseFile::BaseFile(const std::filesystem::path& path) : file_(path), name_(path.string()) {
  read(file_->bytes());
}

BaseFile::BaseFile(std::span<const std::byte> bytes, std::string name) : name_(std::move(name)) {
  read(bytes);
}

void BaseFile::read(std::span<const std::byte> bytes) {
  UM_CHECK(bytes.size() >= kHeaderBytes && std::memcmp(bytes.data(), kMagic, 8) == 0,
           "{}: not a file of a base's predictions (llama.cpp's begin with {})", name_, kMagic);
  context_ = load<int32_t>(bytes.data() + 8);
  vocab_ = load<int32_t>(bytes.data() + 12);
  chunks_ = load<int32_t>(bytes.data() + 16);
  UM_CHECK(context_ >= kLeastContext && vocab_ >= 1 && chunks_ >= 1,
           "{}: {} chunks of {} tokens, a vocabulary of {}: expected at least 1, {} and 1", name_,
           chunks_, context_, vocab_, kLeastContext);
  // Each count is bounded by the file's size before it is multiplied.
  const uint64_t room = bytes.size() - kHeaderBytes, row_bytes = base_row_bytes(vocab_);
  const auto chunks = static_cast<uint64_t>(chunks_);
  const uint64_t token_bytes = sizeof(int32_t) * static_cast<uint64_t>(context_);
  const uint64_t chunk_rows = static_cast<uint64_t>(scored_rows(context_));
  const bool fits = row_bytes <= room / chunk_rows &&
                    token_bytes + chunk_rows * row_bytes <= room / chunks &&
                    chunks * (token_bytes + chunk_rows * row_bytes) == room;
  UM_CHECK(fits,
           "{}: {} bytes are not those of {} chunks of {} tokens with a vocabulary of {}; the file "
           "is damaged, or was not written to its end",
           name_, bytes.size(), chunks_, context_, vocab_);
  tokens_.resize(static_cast<size_t>(chunks_ * context_));
  std::memcpy(tokens_.data(), bytes.data() + kHeaderBytes, tokens_.size() * sizeof(int32_t));
  for (size_t i = 0; i < tokens_.size(); ++i)
    UM_CHECK(tokens_[i] >= 0 && tokens_[i] < vocab_, "{}: token {} is {}, the vocabulary has {}",
             name_, i, tokens_[i], vocab_);
  first_row_ = bytes.data() + kHeaderBytes + chunks * token_bytes;
}

BaseRow BaseFile::row(int64_t index) const {
  const std::byte* at = first_row_ + static_cast<uint64_t>(index) * base_row_bytes(vocab_);
  BaseRow row;
  row.scale = static_cast<double>(load<float>(at));
  row.least = static_cast<double>(load<float>(at + sizeof(float)));
  row.codes = at + 2 * sizeof(float);
  UM_CHECK(
      row.scale >= 0 && std::isfinite(row.least) && row.scale * kSteps + row.least < kTolerance,
      "{}: row {} has logarithms of probabilities from {} to {}; the file is damaged", name_, index,
      row.least, row.scale * kSteps + row.least);
  return row;
}

void BaseFile::check_sum(int64_t index, double sum) const {
  // Tokens far below the best are stored as likelier than they were.
  const double most = 1 + kTolerance + static_cast<double>(vocab_) * std::exp(-kRange);
  UM_CHECK(sum > 1 - kTolerance && sum < most,
           "{}: row {} has probabilities with a sum of {:.4g}, expected 1; the file is damaged",
           name_, index, sum);
}

BaseFileWriter::BaseFileWriter(const std::filesystem::path& path, int64_t context, int64_t vocab,
                               std::span<const int32_t> tokens)
    : name_(path.string()), file_(path) {
  UM_CHECK(context >= kLeastContext && context <= std::numeric_limits<int32_t>::max() &&
               !tokens.empty() && std::ssize(tokens) % context == 0 &&
               std::ssize(tokens) / context <= std::numeric_limits<int32_t>::max(),
           "{}: {} tokens are no chunks of {}", name_, tokens.size(), context);
  const int64_t chunks = std::ssize(tokens) / context;
  file_.write(kMagic);
  for (const int64_t number : {context, vocab, chunks}) {
    const auto value = static_cast<int32_t>(number);
    file_.write(std::as_bytes(std::span(&value, 1)));
  }
  file_.write(std::as_bytes(tokens));
  size_ =
      file_.size() + static_cast<uint64_t>(chunks * scored_rows(context)) * base_row_bytes(vocab);
}

void BaseFileWriter::add(std::span<const std::byte> rows) {
  file_.write(rows);
}

void BaseFileWriter::commit() {
  UM_CHECK(file_.size() == size_, "{}: {} bytes of rows are written, expected {}", name_,
           file_.size(), size_);
  file_.commit();
}

}  // namespace um
