// Fuzz target: lines of metrics.jsonl and samples.jsonl, which may be torn, edited or hostile. What
// is read must be writable again and readable by the report.
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "train/report_data.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  um::RunData run;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    const um::MetricsLine parsed = um::parse_metrics_line(line);
    if (parsed.step) {
      const std::string again = um::to_json_line(*parsed.step);
      if (!um::parse_metrics_line(again).step) __builtin_trap();
      run.add(*parsed.step);
    }
    if (parsed.validation) run.add(*parsed.validation);
    if (std::optional<um::Sample> sample = um::parse_sample_line(line)) run.add(*sample);
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  run.to_json();
  return 0;
}

std::vector<std::string> fuzz_seeds() {
  return {
      "{\"step\":1,\"time_s\":0.5,\"tokens\":256,\"loss\":8.25,\"mtp_loss\":[8.5],"
      "\"grad_norm\":1.5,\"spike\":false,\"lr\":1e-5,\"tokens_per_s\":512.5,"
      "\"activation_rms\":[0.5,0.75],\"moe\":[{\"layer\":1,\"max_over_mean\":1.5,"
      "\"entropy\":0.9,\"dead\":1,\"load\":[0.5,0.25,0.25,0]}]}\n"
      "{\"step\":2,\"loss\":null,\"grad_norm\":null,\"spike\":true,\"skipped\":true}\n"
      "{\"type\":\"val\",\"step\":2,\"tokens\":512,\"val_loss\":7.5}\n",
      "{\"step\":2,\"prompt\":\"Once\",\"text\":\"upon a \\u00e9 time\"}\n",
  };
}
