// `ultramoe info`: what this machine and this program have.
#include <sys/sysinfo.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <optional>
#include <sstream>
#include <thread>

#include "cli/bench_measure.h"
#include "cli/commands.h"
#include "cli/terminal.h"
#include "core/error.h"
#include "kernels/cpu/onednn_rate.h"
#include "kernels/registry.h"
#include "models/config.h"
#include "ops/devices.h"
#include "ops/linear.h"

namespace um {
namespace {

using OrderedJson = nlohmann::ordered_json;

/// The first value of a field of /proc/cpuinfo; empty where there is none.
std::string cpuinfo(const std::string& field) {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with(field)) continue;
    const size_t colon = line.find(": ");
    if (colon != std::string::npos) return line.substr(colon + 2);
  }
  return {};
}

/// The instruction sets that matter here, of those the processor has.
std::vector<std::string> instruction_sets() {
  std::istringstream flags(cpuinfo("flags"));
  const std::vector<std::string> wanted = {"avx2",        "fma",         "f16c",
                                           "avx512f",     "avx512_vnni", "avx_vnni",
                                           "avx512_bf16", "amx_tile",    "amx_bf16"};
  std::vector<std::string> found;
  for (std::string flag; flags >> flag;)
    if (std::find(wanted.begin(), wanted.end(), flag) != wanted.end()) found.push_back(flag);
  return found;
}

/// Names of the kernels in the order of the table, and which of them `table` has.
std::vector<std::pair<const char*, bool>> kernels_of(const Kernels& table) {
  std::vector<std::pair<const char*, bool>> list;
#define UM_LIST_KERNEL(function, Args) list.emplace_back(#function, table.function != nullptr);
  UM_KERNEL_LIST(UM_LIST_KERNEL)
#undef UM_LIST_KERNEL
  return list;
}

double memory_bytes() {
  struct sysinfo info {};
  if (::sysinfo(&info) != 0) return 0;
  return static_cast<double>(info.totalram) * static_cast<double>(info.mem_unit);
}

const char* environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "unset" : value;
}

/// What products can reach here, in operations per second, and the memory.
struct Rates {
  ProductRates products;
  std::optional<double> int8;  ///< oneDNN's
  double int8_kernels = 0;     ///< ours, with weights in panels of 8 bits
  double read = 0;             ///< bytes per second
};

/// Our own product of `side`² matrices of integers, the best of `tries`.
double int8_kernel_rate(int64_t side, int tries) {
  Device& device = cpu_device();
  const Rows weight = Rows::empty(device, {side, side}, kW8Rows);
  const std::vector<float> ones(static_cast<size_t>(side * side), 1.0f);
  const LinearInput x(Tensor::from(device, {side, side}, std::span<const float>(ones)));
  linear(x, weight);  // makes the int8 form of x, and warms up
  double best = std::numeric_limits<double>::infinity();
  for (int i = 0; i < tries; ++i) best = std::min(best, seconds_of([&] { linear(x, weight); }));
  const auto n = static_cast<double>(side);
  return 2 * n * n * n / best;
}

Rates measure_rates() {
  constexpr int64_t kSide = 2048;
  constexpr int kTries = 5;
  return {product_rates(), onednn_rate(ProductType::int8, kSide, kTries),
          int8_kernel_rate(kSide, kTries), read_bandwidth()};
}

OrderedJson to_json(const Rates& rates) {
  const auto or_null = [](const auto& value) {
    return value ? OrderedJson(*value) : OrderedJson();
  };
  const char* instructions = rates.products.bf16_instructions;
  return {
      {"f32_flops_per_s", or_null(rates.products.f32)},
      {"bf16_flops_per_s", or_null(rates.products.bf16)},
      {"bf16_instructions", instructions == nullptr ? OrderedJson() : OrderedJson(instructions)},
      {"int8_ops_per_s", or_null(rates.int8)},
      {"int8_kernel_ops_per_s", rates.int8_kernels},
      {"read_bytes_per_s", rates.read}};
}

std::string int8_text(const Rates& rates) {
  std::string text = fmt::format("{:.0f} Gop/s by our kernels ({})", rates.int8_kernels / 1e9,
                                 integer_products(best_cpu_kernels()));
  if (rates.products.f32)
    text += fmt::format(", {:.2f} times f32", rates.int8_kernels / *rates.products.f32);
  return rates.int8 ? fmt::format("{}; oneDNN {:.0f} Gop/s", text, *rates.int8 / 1e9) : text;
}

OrderedJson to_json(const Globals& globals) {
  OrderedJson kernels = OrderedJson::object();
  for (const Kernels* table : available_kernels())
    for (const auto& [name, there] : kernels_of(*table))
      if (there) kernels[name][table->name] = {"f32"};
  return {{"version", UM_VERSION},
          {"compiler", __VERSION__},
          {"processor", cpuinfo("model name")},
          {"instruction_sets", instruction_sets()},
          {"integer_products", integer_products(best_cpu_kernels())},
          {"cores", std::thread::hardware_concurrency()},
          {"threads", globals.thread_count()},
          {"memory_bytes", memory_bytes()},
          {"device", globals.device().name()},
          {"presets", preset_names()},
          {"kernels", kernels}};
}

void print_kernels() {
  const std::vector<const Kernels*> tables = available_kernels();
  std::string heading = fmt::format("  {:<24}", "kernel");
  for (const Kernels* table : tables) heading += fmt::format("{:<9}", table->name);
  fmt::print("\n{}\n", bold(heading));
  for (size_t k = 0; k < kernels_of(*tables[0]).size(); ++k) {
    fmt::print("  {:<24}", kernels_of(*tables[0])[k].first);
    for (const Kernels* table : tables)
      fmt::print("{:<9}", kernels_of(*table)[k].second ? "f32" : "-");
    fmt::print("\n");
  }
}

void info(const Globals& globals, bool json, bool rates) {
  if (json) {
    OrderedJson all = to_json(globals);
    if (rates) all["rates"] = to_json(measure_rates());
    return print_json(all);
  }
  const auto row = [](const char* label, const std::string& text) {
    fmt::print("  {:<16}{}\n", label, text);
  };
  fmt::print("{}\n\n", bold("ultramoe " UM_VERSION));
  row("processor", cpuinfo("model name"));
  row("instructions", fmt::format("{}", fmt::join(instruction_sets(), " ")));
  row("cores", fmt::format("{}, {} threads used", std::thread::hardware_concurrency(),
                           globals.thread_count()));
  row("memory", bytes_text(memory_bytes()));
  row("device", globals.device().name());
  row("integers", std::string(integer_products(best_cpu_kernels())));
  if (rates) {
    const Rates measured = measure_rates();
    row("f32 products", measured.products.f32_text());
    row("bf16 products", measured.products.bf16_text());
    row("int8 products", int8_text(measured));
    row("reading", fmt::format("{:.1f} GB/s", measured.read / 1e9));
  }
  row("waiting", fmt::format("GOMP_SPINCOUNT={} OMP_WAIT_POLICY={}", environment("GOMP_SPINCOUNT"),
                             environment("OMP_WAIT_POLICY")));
  row("compiler", __VERSION__);
  row("presets", fmt::format("{}", fmt::join(preset_names(), "\n                  ")));
  print_kernels();
}

}  // namespace

void add_info(CLI::App& app, Globals& globals) {
  CLI::App* command =
      add_command(app, "info", "this machine, and the kernels there are for it", globals);
  auto json = std::make_shared<bool>(false);
  auto rates = std::make_shared<bool>(false);
  command->add_flag(
      "--rates", *rates,
      "measure what large matrix products reach in f32 and bf16 (oneDNN's) and int8 (our kernels' "
      "and oneDNN's), and how fast memory is read: some seconds");
  add_json_flag(command, *json);
  run_with(command, globals, [json, rates, &globals] { info(globals, *json, *rates); });
}

}  // namespace um
