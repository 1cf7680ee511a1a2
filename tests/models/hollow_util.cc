// See hollow_util.h.
#include "tests/models/hollow_util.h"

#include <fstream>
#include <numeric>

#include "core/json.h"

namespace um {
namespace {

namespace fs = std::filesystem;

/// "a.{1-2}.b" → "a.1.b", "a.2.b".
std::vector<std::string> expand(const std::string& pattern) {
  const size_t open = pattern.find('{');
  if (open == std::string::npos) return {pattern};
  const size_t dash = pattern.find('-', open), close = pattern.find('}', open);
  const int first = std::stoi(pattern.substr(open + 1)), last = std::stoi(pattern.substr(dash + 1));
  std::vector<std::string> names;
  for (int i = first; i <= last; ++i)
    for (const std::string& rest : expand(pattern.substr(close + 1)))
      names.push_back(pattern.substr(0, open) + std::to_string(i) + rest);
  return names;
}

}  // namespace

int64_t HollowTensor::elements() const {
  return std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>());
}

std::vector<HollowTensor> published_tensors(const fs::path& list) {
  std::vector<HollowTensor> tensors;
  std::ifstream lines(list);
  for (std::string line; std::getline(lines, line);) {
    const size_t open = line.find(" ["), close = line.find(']');
    const Json shape = parse_json(line.substr(open + 1, close - open), list.string());
    for (const std::string& name : expand(line.substr(0, open)))
      tensors.push_back(
          {name, shape.get<std::vector<int64_t>>(), line.find(" F32", close) != std::string::npos});
  }
  return tensors;
}

void write_hollow(const fs::path& path, const std::vector<HollowTensor>& tensors) {
  Json header = Json::object();
  uint64_t at = 0;
  for (const bool f32 : {true, false})
    for (const HollowTensor& tensor : tensors) {
      if (tensor.f32 != f32) continue;
      const uint64_t end = at + static_cast<uint64_t>(tensor.elements()) * (f32 ? 4 : 2);
      header[tensor.name] = {
          {"dtype", f32 ? "F32" : "BF16"}, {"shape", tensor.shape}, {"data_offsets", {at, end}}};
      at = end;
    }
  std::string text = to_text(header);
  text.resize((text.size() + 7) / 8 * 8, ' ');
  const uint64_t size = text.size();
  std::ofstream file(path, std::ios::binary);
  file.write(reinterpret_cast<const char*>(&size), sizeof(size));
  file << text;
  file.close();
  fs::resize_file(path, 8 + size + at);
}

}  // namespace um
