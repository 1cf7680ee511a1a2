// See run_card.h.
#include "train/run_card.h"

#include <fmt/format.h>
#include <sys/sysinfo.h>

#include <fstream>
#include <thread>

#include "models/config.h"
#include "models/count.h"

namespace um {

ModelCard run_card(const ModelConfig& config, const SourceDescription& data, bool with_mtp) {
  const ParameterCount count = count_parameters(config);
  ModelCard card;
  card.architecture = architecture_name(config.family);
  card.machine = machine_name();
  card.total_params = with_mtp ? count.total_with_mtp() : count.total();
  card.active_params = count.active();
  auto part = [&card](const char* name, int64_t total, int64_t active) {
    if (total > 0) card.parts.push_back({name, total, active});
  };
  part("embedding", count.embedding, count.embedding);
  part("attention", count.attention, count.attention);
  part("dense feed-forward", count.dense_mlp, count.dense_mlp);
  part("routed experts", count.experts, count.experts - count.idle_experts);
  part("shared experts", count.shared, count.shared);
  part("routers", count.router, count.router);
  part("norms", count.norms, count.norms);
  part("output head", count.head, count.head);
  if (with_mtp) part("MTP heads", count.mtp, count.mtp - count.mtp_idle_experts);
  card.unigram_entropy_nats = data.unigram_entropy;
  card.bytes_per_token = data.bytes_per_token;
  card.bytes_per_target = data.bytes_per_target;
  card.data = data.facts;
  return card;
}

std::string machine_name() {
  std::string model = "unknown processor";
  std::ifstream cpuinfo("/proc/cpuinfo");
  for (std::string line; std::getline(cpuinfo, line);)
    if (line.starts_with("model name")) {
      model = line.substr(line.find(':') + 2);
      break;
    }
  struct sysinfo info {};
  const double memory = ::sysinfo(&info) == 0 ? static_cast<double>(info.totalram) *
                                                    static_cast<double>(info.mem_unit) / 1e9
                                              : 0.0;
  return fmt::format("{}, {} cores, {:.0f} GB", model, std::thread::hardware_concurrency(), memory);
}

}  // namespace um
