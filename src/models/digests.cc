// See digests.h.
#include "models/digests.h"

#include <optional>
#include <string>
#include <vector>

#include "core/checksum.h"
#include "core/error.h"
#include "core/files.h"
#include "core/json.h"
#include "core/paths.h"
#include "models/mapped.h"

namespace um {
namespace {

namespace fs = std::filesystem;

constexpr const char* kFile = "digests.json";
constexpr const char* kUnfinished = "unfinished";
constexpr uint64_t kMaxListBytes = uint64_t{64} << 20;

std::string crc_text(std::span<const std::byte> bytes) {
  return fmt::format("{:08x}", crc32_of(bytes));
}

/// What is wrong with a file; empty if nothing is. `whole`: its contents, too, not only its size.
std::string fault_of(const fs::path& path, const JsonObject& expected, bool whole) {
  if (!path_exists(path)) return "missing; it was there when the checkpoint was written";
  const MappedFile file(path);
  const int64_t size = expected.integer("bytes", 0);
  if (std::cmp_not_equal(file.bytes().size(), size))
    return fmt::format("{} bytes; {} were written", file.bytes().size(), size);
  if (!whole) return {};
  const std::string crc = crc_text(file.bytes()), written = expected.string("crc32");
  if (crc == written) return {};
  return fmt::format("damaged: its CRC-32 is {}, {} was written", crc, written);
}

/// The list that must name a file; empty where none has to (who has a model may add texts to it).
std::string_view list_of(std::string_view name) {
  if (name == kOptimizerFile || name == kTrainingStateFile) return "training";
  const bool weights = name.ends_with(".safetensors") || name.ends_with(".safetensors.index.json");
  return weights || name == "config.json" ? "model" : "";
}

/// A file that is there and in no list; empty if there is none.
fs::path unlisted_file(const fs::path& directory, const JsonObject& digests) {
  for (const fs::path& path : list_directory(directory)) {
    const std::string name = path.filename().string();
    const std::string list(list_of(name));
    if (!list.empty() && !digests.object(list).json().contains(name)) return path;
  }
  return {};
}

/// Throws Error for a list that is none.
void check_list(const JsonObject& digests) {
  for (const char* part : {"model", "training"}) {
    const JsonObject files = digests.object(part);
    for (const auto& [name, unused] : files.json().items()) {
      UM_CHECK(fs::path(name).filename() == name, "{}: {} is no name of a file", digests.where(),
               quote(name));
      files.object(name).integer("bytes", 0);
      files.object(name).string("crc32");
    }
  }
}

/// The first fault of the files: "PATH: what is wrong".
std::optional<std::string> find_fault_by(const JsonObject& digests, const fs::path& directory,
                                         DigestScope scope) {
  for (const char* part : {"model", "training"}) {
    if (part == std::string_view("training") && scope == DigestScope::model) break;
    const JsonObject files = digests.object(part);
    for (const auto& [name, unused] : files.json().items()) {
      // A mapped file is not read as a whole before it is used: that is what it is for.
      const bool whole = name != kMappedFile || scope == DigestScope::all;
      const std::string fault = fault_of(directory / name, files.object(name), whole);
      if (!fault.empty()) return fmt::format("{}: {}", (directory / name).string(), fault);
    }
  }
  if (const fs::path path = unlisted_file(directory, digests); !path.empty())
    return fmt::format("{}: damaged: {} is not in it", digests.where(), path.filename().string());
  return std::nullopt;
}

bool says_unfinished(const Json& list) {
  return list.is_object() && list.contains(kUnfinished);
}

/// The same of a checkpoint, whose list may be at fault, too. Throws Error for what cannot be read,
/// and for a directory that is not complete.
std::optional<std::string> find_fault(const fs::path& directory, DigestScope scope) {
  const std::string list = (directory / kFile).string(), text = read_file(list, kMaxListBytes);
  Json json;
  try {
    json = parse_json(text, list);
    if (!says_unfinished(json)) check_list(JsonObject(json, list));
  } catch (const Error& error) {
    return error.what();
  }
  UM_CHECK(!says_unfinished(json),
           "{}: not complete: the command that wrote it was ended; run it again, or remove it",
           directory.string());
  return find_fault_by(JsonObject(json, list), directory, scope);
}

bool is_whole(const fs::path& directory) {
  try {
    return path_exists(directory / kFile) && !find_fault(directory, DigestScope::all);
  } catch (const Error&) {
    return false;
  }
}

/// Whether it is one of a run's checkpoints, step-N.
bool is_step(const fs::path& directory) {
  const std::string name = directory.filename().string();
  return name.starts_with("step-") && name.find_first_not_of("0123456789", 5) == std::string::npos;
}

/// step-9 is older than step-10.
bool older(const fs::path& a, const fs::path& b) {
  const std::string first = a.filename().string(), second = b.filename().string();
  return is_step(a) && std::pair(first.size(), first) < std::pair(second.size(), second);
}

fs::path absolute_name(const fs::path& directory) {
  return fs::absolute(directory / "").lexically_normal().parent_path();
}

/// The newest whole checkpoint among those beside `directory` that are older; empty if none is.
fs::path older_whole_checkpoint(const fs::path& directory) {
  const fs::path self = absolute_name(directory);
  fs::path best;
  for (const fs::path& other : list_directory(self.parent_path()))
    if (older(other, self) && (best.empty() || older(best, other)) && is_whole(other)) best = other;
  return best.empty() ? best : directory / ".." / best.filename();
}

}  // namespace

CheckpointDirectory::CheckpointDirectory(const fs::path& directory,
                                         std::function<bool(std::string_view name)> is_training)
    : output_(directory), is_training_(std::move(is_training)) {
  output_.clean();
  write_file_atomic(output_.path() / kFile, to_text({{kUnfinished, true}}) + "\n");
}

void CheckpointDirectory::seal() {
  const fs::path& directory = output_.path();
  Json digests{{"model", Json::object()}, {"training", Json::object()}};
  for (const fs::path& path : list_directory(directory)) {
    const std::string name = path.filename().string();
    if (!fs::is_regular_file(path) || name == kFile) continue;
    const MappedFile file(path);
    digests[is_training_(name) ? "training" : "model"][name] = {{"bytes", file.bytes().size()},
                                                                {"crc32", crc_text(file.bytes())}};
  }
  write_file_atomic(directory / kFile, to_text(digests, 1) + "\n");
  sync_directory(directory);
}

bool is_unfinished(const fs::path& directory) {
  if (!path_exists(directory / kFile)) return false;
  try {
    return says_unfinished(read_json_file(directory / kFile));
  } catch (const Error&) {
    return false;  // damaged is something else
  }
}

void check_digests(const fs::path& directory, DigestScope scope) {
  if (!path_exists(directory / kFile)) return;
  const std::optional<std::string> fault = find_fault(directory, scope);
  if (!fault) return;
  std::string others;
  if (is_step(absolute_name(directory))) {
    const fs::path whole = older_whole_checkpoint(directory);
    others = whole.empty() ? "; no older checkpoint is whole"
                           : fmt::format("; the older checkpoint {} is whole",
                                         whole.lexically_normal().string());
  }
  fail("{}{}; if you changed the file yourself, delete {}", *fault, others,
       (directory / kFile).string());
}

}  // namespace um
