// What people read: numbers with units, styled text on terminals, one progress line.
#pragma once

#include <chrono>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "core/units.h"

namespace um {

bool stdout_is_terminal();
bool stderr_is_terminal();

/// Bold or dim on a terminal (of standard output, or of standard error), plain elsewhere and where
/// NO_COLOR is set.
std::string bold(std::string_view text, bool on_stderr = false);
std::string dim(std::string_view text, bool on_stderr = false);

std::string duration_text(double seconds);  ///< 8.4 s, 3 min 12 s, 2 h 05 min

/// One JSON object on one line of standard output. Strings that are not UTF-8 are repaired.
void print_json(const nlohmann::ordered_json& json);

/// Writes what standard output holds back. Throws Error if it cannot be written (disk full).
void flush_output();

/// A line on standard error that says how far long work has come: rewritten in place on a terminal,
/// a plain line every few seconds elsewhere.
class Progress {
 public:
  Progress() = default;
  Progress(const Progress&) = delete;
  ~Progress() { clear(); }

  /// True when it is time to show something; saves making text that nobody sees.
  bool due() const;
  void show(std::string_view line);
  /// Shows a line whether it is due or not, for a stage that says nothing until it is done.
  void announce(std::string_view line);
  /// Takes the line off a terminal.
  void clear();
  /// Writes "warning: TEXT" on a line of its own, above the progress line.
  void warn(std::string_view text);
  double seconds() const;

 private:
  using Clock = std::chrono::steady_clock;
  Clock::time_point start_ = Clock::now(), last_ = start_;
  bool visible_ = false;
};

/// Shows how much of a model has been read: "loading: 3.20 GB of 14.5 GB, 1.10 GB/s, ETA 10 s".
void show_loading(Progress& line, uint64_t done, uint64_t all);

/// "ETA 12 s" from the share that is done; empty while nothing can be said.
std::string eta_text(double seconds_spent, double done, double total);

}  // namespace um
