// TensorBoard event files, written without TensorFlow: TFRecord frames (length, masked CRC-32C,
// payload, masked CRC-32C) around hand-encoded protobuf `Event` messages with scalar and histogram
// summaries. Only the fields TensorBoard reads are encoded.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

#include "train/metrics.h"

namespace um {

/// CRC-32C (Castagnoli, reflected polynomial 0x82F63B78) of `bytes`.
uint32_t crc32c(std::string_view bytes);
/// The form TFRecord stores: rotated right by 15 bits plus a constant, so that a CRC of data which
/// holds CRCs stays sound.
uint32_t masked_crc32c(std::string_view bytes);

/// One event file RUN/tensorboard/events.out.tfevents.TIME.PID.ultramoe. `tensorboard --logdir RUN`
/// shows it.
class TensorBoardWriter {
 public:
  /// Creates a new event file. After a resume, what older files hold of later steps is dropped by
  /// TensorBoard on reading (a SessionLog START event). Throws Error if it cannot be written.
  explicit TensorBoardWriter(const std::filesystem::path& run_dir, int64_t resumed_step = 0);
  TensorBoardWriter(const TensorBoardWriter&) = delete;
  TensorBoardWriter& operator=(const TensorBoardWriter&) = delete;
  ~TensorBoardWriter();

  /// Buffered; `tag` is a path such as "train/loss".
  void scalar(std::string_view tag, int64_t step, double value);
  /// A histogram of `values` (those that are finite) in at most 30 equal bins.
  void histogram(std::string_view tag, int64_t step, std::span<const float> values);
  /// Every field of `metrics` that was measured (histograms every 50 steps), then flush().
  void write(const StepMetrics& metrics);
  void write(const ValidationPoint& point);
  /// Hands the buffer to the system.
  void flush();

  const std::filesystem::path& path() const { return path_; }

 private:
  void record(std::string_view event);

  std::filesystem::path path_;
  int fd_ = -1;
  std::string buffer_;
};

}  // namespace um
