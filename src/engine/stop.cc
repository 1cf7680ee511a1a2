// See stop.h.
#include "engine/stop.h"

#include <algorithm>
#include <utility>

#include "core/error.h"

namespace um {
namespace {

/// Length of the longest end of `text` with which `stop` begins.
size_t overlap(std::string_view text, std::string_view stop) {
  for (size_t length = std::min(text.size(), stop.size() - 1); length > 0; --length)
    if (text.substr(text.size() - length) == stop.substr(0, length)) return length;
  return 0;
}

}  // namespace

StopFilter::StopFilter(std::vector<std::string> stops) : stops_(std::move(stops)) {
  for (const std::string& stop : stops_)
    if (stop.empty()) throw UsageError("a stop string is empty");
}

std::string StopFilter::push(std::string_view text, bool may_stop) {
  if (stopped_) return {};
  held_ += text;
  if (!may_stop) uncounted_ = held_.size();
  size_t found = std::string::npos, keep = 0;
  for (const std::string& stop : stops_) {
    const size_t from = uncounted_ < stop.size() ? 0 : uncounted_ - stop.size() + 1;
    if (const size_t at = held_.find(stop, from); at < found) {
      found = at;
      matched_ = stop;
    }
    keep = std::max(keep, overlap(held_, stop));
  }
  stopped_ = found != std::string::npos;
  std::string shown = held_.substr(0, stopped_ ? found : held_.size() - keep);
  held_.erase(0, stopped_ ? held_.size() : shown.size());
  uncounted_ -= std::min(uncounted_, shown.size());
  return shown;
}

std::string StopFilter::finish() {
  return std::exchange(held_, {});
}

}  // namespace um
