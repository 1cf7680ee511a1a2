// See terminal.h.
#include "cli/terminal.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "core/error.h"

namespace um {
namespace {

bool has_style(bool on_stderr) {
  const char* off = std::getenv("NO_COLOR");
  if (off != nullptr && *off != '\0') return false;
  return on_stderr ? stderr_is_terminal() : stdout_is_terminal();
}

std::string styled(std::string_view text, const char* code, bool on_stderr) {
  if (text.empty() || !has_style(on_stderr)) return std::string(text);
  return fmt::format("\033[{}m{}\033[0m", code, text);
}

size_t terminal_width() {
  struct winsize size {};
  if (::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col < 20) return 80;
  return size.ws_col;
}

}  // namespace

bool stdout_is_terminal() {
  static const bool kYes = ::isatty(STDOUT_FILENO) != 0;
  return kYes;
}

bool stderr_is_terminal() {
  static const bool kYes = ::isatty(STDERR_FILENO) != 0;
  return kYes;
}

std::string bold(std::string_view text, bool on_stderr) {
  return styled(text, "1", on_stderr);
}

std::string dim(std::string_view text, bool on_stderr) {
  return styled(text, "2", on_stderr);
}

std::string duration_text(double seconds) {
  if (seconds < 59.95) return fmt::format("{:.1f} s", seconds);
  const auto whole = static_cast<int64_t>(std::llround(seconds));
  if (whole < 3600) return fmt::format("{} min {:02} s", whole / 60, whole % 60);
  return fmt::format("{} h {:02} min", whole / 3600, whole % 3600 / 60);
}

void print_json(const nlohmann::ordered_json& json) {
  const std::string text =
      json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
  std::fwrite(text.data(), 1, text.size(), stdout);
}

void flush_output() {
  const bool written = std::fflush(stdout) == 0 && std::ferror(stdout) == 0;
  UM_CHECK(written, "standard output: cannot write: {}", std::strerror(errno));
}

bool Progress::due() const {
  const std::chrono::duration<double> since = Clock::now() - last_;
  return since.count() >= (stderr_is_terminal() ? 0.1 : 10.0);
}

void Progress::show(std::string_view line) {
  if (due()) announce(line);
}

void Progress::announce(std::string_view line) {
  last_ = Clock::now();
  if (stderr_is_terminal()) {
    const std::string_view fits = line.substr(0, terminal_width() - 1);
    fmt::print(stderr, "\r\033[K{}", fits);
    visible_ = true;
  } else {
    fmt::print(stderr, "{}\n", line);
  }
  std::fflush(stderr);
}

void Progress::clear() {
  if (!visible_) return;
  std::fputs("\r\033[K", stderr);
  std::fflush(stderr);
  visible_ = false;
}

void Progress::warn(std::string_view text) {
  clear();
  fmt::print(stderr, "warning: {}\n", text);
}

double Progress::seconds() const {
  return std::chrono::duration<double>(Clock::now() - start_).count();
}

void show_loading(Progress& line, uint64_t done, uint64_t all) {
  if (!line.due() || done >= all) return;
  const auto read = static_cast<double>(done), total = static_cast<double>(all);
  const std::string eta = eta_text(line.seconds(), read, total);
  line.show(fmt::format("loading: {} of {}, {}/s{}{}", bytes_text(read), bytes_text(total),
                        bytes_text(read / line.seconds()), eta.empty() ? "" : ", ", eta));
}

std::string eta_text(double seconds_spent, double done, double total) {
  if (!(done > 0) || !(total > 0) || seconds_spent < 0.5) return {};
  return "ETA " + duration_text(std::max(0.0, seconds_spent * (total - done) / done));
}

}  // namespace um
