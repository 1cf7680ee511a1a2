// See tensorboard.h. Field numbers are those of TensorFlow's event.proto and summary.proto.
#include "train/tensorboard.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstring>
#include <vector>

#include "core/error.h"
#include "core/files.h"

namespace um {
namespace {

/// A histogram is 30 times a scalar: every so many steps are enough to see a distribution move.
constexpr int64_t kHistogramEvery = 50;

constexpr std::array<uint32_t, 256> make_crc_table() {
  std::array<uint32_t, 256> table{};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t crc = i;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0x82F63B78u : 0u);
    table[i] = crc;
  }
  return table;
}
constexpr std::array<uint32_t, 256> kCrcTable = make_crc_table();

template <class T>
void put_little_endian(std::string& out, T value) {
  for (size_t i = 0; i < sizeof(T); ++i)
    out.push_back(static_cast<char>((value >> (8 * i)) & 0xff));
}

/// Appends protobuf fields to a message.
class Message {
 public:
  Message& integer(int field, uint64_t value) {
    varint(static_cast<uint64_t>(field) << 3 | 0);
    varint(value);
    return *this;
  }
  Message& real64(int field, double value) {
    varint(static_cast<uint64_t>(field) << 3 | 1);
    put_little_endian(bytes_, std::bit_cast<uint64_t>(value));
    return *this;
  }
  Message& real32(int field, float value) {
    varint(static_cast<uint64_t>(field) << 3 | 5);
    put_little_endian(bytes_, std::bit_cast<uint32_t>(value));
    return *this;
  }
  Message& text(int field, std::string_view value) {
    varint(static_cast<uint64_t>(field) << 3 | 2);
    varint(value.size());
    bytes_.append(value);
    return *this;
  }
  Message& packed(int field, std::span<const double> values) {
    std::string body;
    for (double value : values) put_little_endian(body, std::bit_cast<uint64_t>(value));
    return text(field, body);
  }
  const std::string& bytes() const { return bytes_; }

 private:
  void varint(uint64_t value) {
    for (; value >= 0x80; value >>= 7) bytes_.push_back(static_cast<char>(value | 0x80));
    bytes_.push_back(static_cast<char>(value));
  }
  std::string bytes_;
};

double wall_time() {
  using std::chrono::duration;
  return duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

/// Event {wall_time = 1, step = 2, FIELD: body}.
std::string event(int64_t step, int field, std::string_view body) {
  Message message;
  message.real64(1, wall_time()).integer(2, static_cast<uint64_t>(step)).text(field, body);
  return message.bytes();
}

/// Event.summary = 5, Summary.value = 1.
std::string summary_event(int64_t step, const Message& value) {
  return event(step, 5, Message().text(1, value.bytes()).bytes());
}

/// HistogramProto: min 1, max 2, num 3, sum 4, sum_squares 5, bucket_limit 6, bucket 7.
Message histogram_proto(const std::vector<double>& values) {
  const auto [low, high] = std::minmax_element(values.begin(), values.end());
  constexpr int kBins = 30;
  const double width = (*high - *low) / kBins;
  std::vector<double> limits, counts;
  for (int i = 1; i <= kBins && width > 0; ++i) limits.push_back(*low + width * i);
  if (limits.empty()) limits.push_back(*high);
  limits.back() = *high;
  counts.resize(limits.size());
  double sum = 0, squares = 0;
  for (double value : values) {
    const auto bin = std::lower_bound(limits.begin(), limits.end(), value) - limits.begin();
    counts[std::min(static_cast<size_t>(bin), counts.size() - 1)] += 1;
    sum += value;
    squares += value * value;
  }
  Message histogram;
  histogram.real64(1, *low).real64(2, *high).real64(3, static_cast<double>(values.size()));
  histogram.real64(4, sum).real64(5, squares).packed(6, limits).packed(7, counts);
  return histogram;
}

std::filesystem::path new_event_file(const std::filesystem::path& run_dir) {
  // TensorBoard reads the files of a directory in the order of their names: time first.
  const std::filesystem::path directory = run_dir / "tensorboard";
  make_directories(directory);
  const auto now_us = static_cast<int64_t>(wall_time() * 1e6);
  return directory / fmt::format("events.out.tfevents.{:010}.{:06}.{}.ultramoe", now_us / 1000000,
                                 now_us % 1000000, ::getpid());
}

}  // namespace

uint32_t crc32c(std::string_view bytes) {
  uint32_t crc = ~0u;
  for (char byte : bytes)
    crc = kCrcTable[(crc ^ static_cast<unsigned char>(byte)) & 0xff] ^ (crc >> 8);
  return ~crc;
}

uint32_t masked_crc32c(std::string_view bytes) {
  return std::rotr(crc32c(bytes), 15) + 0xa282ead8u;
}

TensorBoardWriter::TensorBoardWriter(const std::filesystem::path& run_dir, int64_t resumed_step)
    : path_(new_event_file(run_dir)) {
  fd_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0644);
  UM_CHECK(fd_ >= 0, "{}: cannot create: {}", path_.string(), std::strerror(errno));
  record(event(0, 3, "brain.Event:2"));  // Event.file_version = 3
  if (resumed_step > 0)                  // Event.session_log = 7, SessionLog.status = 1, START = 1
    record(event(resumed_step + 1, 7, Message().integer(1, 1).bytes()));
  flush();
}

TensorBoardWriter::~TensorBoardWriter() {
  try {
    flush();
  } catch (const Error&) {
    // A destructor cannot report; write() has reported every earlier failure.
  }
  ::close(fd_);
}

void TensorBoardWriter::scalar(std::string_view tag, int64_t step, double value) {
  Message message;  // Summary.Value: tag = 1, simple_value = 2
  message.text(1, tag).real32(2, static_cast<float>(value));
  record(summary_event(step, message));
}

void TensorBoardWriter::histogram(std::string_view tag, int64_t step,
                                  std::span<const float> values) {
  std::vector<double> finite;
  for (float value : values)
    if (std::isfinite(value)) finite.push_back(value);
  if (finite.empty()) return;
  Message message;  // Summary.Value: tag = 1, histo = 5
  message.text(1, tag).text(5, histogram_proto(finite).bytes());
  record(summary_event(step, message));
}

void TensorBoardWriter::write(const StepMetrics& m) {
  const auto measured = [&](std::string_view tag, double value) {
    if (!std::isnan(value)) scalar(tag, m.step, value);
  };
  scalar("train/loss", m.step, m.loss);
  if (m.val_loss) scalar("val/loss", m.step, *m.val_loss);
  for (size_t head = 0; head < m.mtp_loss.size(); ++head)
    scalar(fmt::format("train/mtp_loss_{}", head + 1), m.step, m.mtp_loss[head]);
  measured("train/balance_loss", m.balance_loss);
  measured("train/z_loss", m.z_loss);
  scalar("train/grad_norm", m.step, m.grad_norm);
  scalar("train/grad_spike", m.step, m.spike ? 1 : 0);
  measured("train/lr", m.lr);
  scalar("train/tokens", m.step, static_cast<double>(m.tokens));
  measured("speed/tokens_per_s", m.tokens_per_s);
  measured("speed/model_flops_per_s", m.model_flops_per_s);
  for (const ExpertLoad& load : m.moe) {
    measured(fmt::format("moe_max_over_mean/layer_{:02}", load.layer), load.max_over_mean);
    measured(fmt::format("moe_entropy/layer_{:02}", load.layer), load.entropy);
    scalar(fmt::format("moe_dead/layer_{:02}", load.layer), m.step, load.dead);
    if (m.step % kHistogramEvery == 0)
      histogram(fmt::format("moe_load/layer_{:02}", load.layer), m.step, load.fractions);
  }
  for (const auto& [name, value] : m.measures) scalar("task/" + name, m.step, value);
  for (size_t layer = 0; layer < m.activation_rms.size(); ++layer)
    scalar(fmt::format("activation_rms/layer_{:02}", layer), m.step, m.activation_rms[layer]);
  flush();
}

void TensorBoardWriter::write(const ValidationPoint& point) {
  scalar("val/loss", point.step, point.loss);
  for (const auto& [name, loss] : point.parts) scalar("val/" + name, point.step, loss);
  flush();
}

void TensorBoardWriter::record(std::string_view event) {
  std::string length;
  put_little_endian(length, static_cast<uint64_t>(event.size()));
  buffer_ += length;
  put_little_endian(buffer_, masked_crc32c(length));
  buffer_ += event;
  put_little_endian(buffer_, masked_crc32c(event));
  if (buffer_.size() > (size_t{1} << 20)) flush();
}

void TensorBoardWriter::flush() {
  while (!buffer_.empty()) {
    const ssize_t put = ::write(fd_, buffer_.data(), buffer_.size());
    if (put < 0 && errno == EINTR) continue;
    UM_CHECK(put > 0, "{}: cannot append: {}", path_.string(), std::strerror(errno));
    buffer_.erase(0, static_cast<size_t>(put));
  }
}

}  // namespace um
