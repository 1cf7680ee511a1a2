// See devices.h.
#include "ops/devices.h"

#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "core/error.h"
#include "kernels/kernels.h"
#include "kernels/registry.h"

namespace um {

Device& cpu_device() {
  return cpu_device(best_cpu_kernels().name);
}

Device& cpu_device(std::string_view kernels) {
  static std::mutex mutex;
  static std::map<std::string, std::unique_ptr<Device>, std::less<>> devices;
  const std::lock_guard lock(mutex);
  if (const auto found = devices.find(kernels); found != devices.end()) return *found->second;
  const Kernels* table = find_kernels(kernels);
  if (table == nullptr) {
    std::vector<std::string_view> names;
    for (const Kernels* known : available_kernels()) names.push_back(known->name);
    throw UsageError(
        fmt::format("kernels \"{}\": this machine runs {}", kernels, fmt::join(names, ", ")));
  }
  std::string name(kernels);
  return *devices.emplace(name, std::make_unique<Device>("cpu/" + name, table)).first->second;
}

Device& dry_device() {
  static Device device("dry", nullptr);
  return device;
}

}  // namespace um
