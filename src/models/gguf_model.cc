// Files, parts and metadata; see gguf_model.h.
#include "models/gguf_model.h"

#include <algorithm>
#include <charconv>
#include <span>

#include "core/error.h"
#include "core/json.h"

namespace um {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kMaxParts = 4096;
constexpr int64_t kMaxInteger = int64_t{1} << 40;

/// The name of part `index` (from 0) of `count`, given that of the first.
fs::path part_path(const fs::path& first, int64_t index, int64_t count) {
  const std::string name = first.filename().string();
  const std::string tail = fmt::format("-00001-of-{:05}.gguf", count);
  UM_CHECK(name.ends_with(tail),
           "{}: the first of {} parts: expected a name that ends in {}, so that the others can be "
           "found",
           first.string(), count, tail);
  const std::string stem = name.substr(0, name.size() - tail.size());
  return first.parent_path() / fmt::format("{}-{:05}-of-{:05}.gguf", stem, index + 1, count);
}

/// "[8, 8, 4, …]"
std::string shown(const std::vector<int32_t>& values) {
  constexpr size_t kShown = 8;
  const std::span<const int32_t> first(values.data(), std::min(values.size(), kShown));
  return fmt::format("[{}{}]", fmt::join(first, ", "), values.size() > kShown ? ", …" : "");
}

}  // namespace

bool is_gguf(const fs::path& path) {
  std::error_code ignored;
  return path.extension() == ".gguf" && !fs::is_directory(path, ignored);
}

GgufModel::GgufModel(const fs::path& path) {
  open_parts(path);
  index();
}

GgufModel::GgufModel(std::shared_ptr<const Gguf> file) {
  parts_.push_back(std::move(file));
  index();
}

void GgufModel::open_parts(const fs::path& first) {
  parts_.push_back(std::make_shared<const Gguf>(first));
  const int64_t count = file().integer("split.count").value_or(1);
  if (count <= 1) return;
  UM_CHECK(count <= kMaxParts, "{}: split.count is {}, the limit is {}", name(), count, kMaxParts);
  UM_CHECK(file().integer("split.no").value_or(0) == 0,
           "{}: part {} of {}; give the first part, -00001-of-{:05}.gguf", name(),
           *file().integer("split.no") + 1, count, count);
  size_t tensors = file().tensors().size();
  for (int64_t i = 1; i < count; ++i) {
    parts_.push_back(std::make_shared<const Gguf>(part_path(first, i, count)));
    const Gguf& part = *parts_.back();
    UM_CHECK(part.integer("split.no") == i && part.integer("split.count") == count,
             "{}: expected split.no {} and split.count {}", part.name(), i, count);
    tensors += part.tensors().size();
  }
  const auto stated = file().integer("split.tensors.count");
  UM_CHECK(!stated || *stated == static_cast<int64_t>(tensors),
           "{}: split.tensors.count is {}, the parts have {} tensors", name(), *stated, tensors);
}

void GgufModel::index() {
  const auto architecture = file().string("general.architecture");
  UM_CHECK(architecture && !architecture->empty(), "{}: no general.architecture", name());
  architecture_ = *architecture;
  for (const auto& part : parts_)
    for (const GgufTensor& tensor : part->tensors())
      UM_CHECK(tensors_.emplace(tensor.name, &tensor).second, "{}: tensor {} is in two parts",
               part->name(), quote(tensor.name));
}

std::string GgufModel::key(std::string_view suffix) const {
  return fmt::format("{}.{}", architecture_, suffix);
}

int64_t GgufModel::integer(std::string_view suffix) const {
  UM_CHECK(has(suffix), "{}: no {}", name(), key(suffix));
  return integer_or(suffix, 0);
}

int64_t GgufModel::integer_or(std::string_view suffix, int64_t fallback) const {
  return in_bounds(suffix, file().integer(key(suffix)).value_or(fallback));
}

int64_t GgufModel::layers_integer(std::string_view suffix) const {
  UM_CHECK(has(suffix), "{}: no {}", name(), key(suffix));
  return layers_integer_or(suffix, 0);
}

int64_t GgufModel::layers_integer_or(std::string_view suffix, int64_t fallback) const {
  if (!file().is_array(key(suffix))) return integer_or(suffix, fallback);
  const std::vector<int32_t> values = file().int32s(key(suffix));
  const int64_t layers = integer("block_count"), drafting = integer_or("nextn_predict_layers", 0);
  UM_CHECK(
      !values.empty() && (std::ssize(values) == layers || std::ssize(values) == layers - drafting),
      "{}: {} has {} values, expected one for each of {} layers", name(), key(suffix),
      values.size(), layers);
  UM_CHECK(std::ranges::count(values, values[0]) == std::ssize(values),
           "{}: {} is {}: layers that differ are not supported, expected the same value for all",
           name(), key(suffix), shown(values));
  return in_bounds(suffix, values[0]);
}

int64_t GgufModel::in_bounds(std::string_view suffix, int64_t value) const {
  UM_CHECK(value >= 0 && value <= kMaxInteger, "{}: {} is {}, expected 0 to {}", name(),
           key(suffix), value, kMaxInteger);
  return value;
}

double GgufModel::number_or(std::string_view suffix, double fallback) const {
  const auto value = file().number(key(suffix));
  if (!value) return fallback;
  // Written as f32: 1e-5 stands for itself, not for 9.99999975e-06.
  const std::string text = fmt::format("{}", static_cast<float>(*value));
  double number = *value;
  std::from_chars(text.data(), text.data() + text.size(), number);
  return number;
}

bool GgufModel::has(std::string_view suffix) const {
  return file().has(key(suffix));
}

const GgufTensor* GgufModel::find(std::string_view name) const {
  const auto at = tensors_.find(name);
  return at == tensors_.end() ? nullptr : at->second;
}

std::span<const std::byte> GgufModel::contents(const GgufTensor& tensor) const {
  for (const auto& part : parts_)
    if (!part->tensors().empty() && &tensor >= &part->tensors().front() &&
        &tensor <= &part->tensors().back())
      return part->contents(tensor);
  fail("{}: tensor {} is of another file", name(), quote(tensor.name));
}

WeightSource open_gguf_weights(const fs::path& path) {
  return gguf_weights(GgufModel(path));
}

}  // namespace um
