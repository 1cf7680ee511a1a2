// See run_checkpoint.h.
#include "train/run_checkpoint.h"

#include <algorithm>
#include <cstring>
#include <set>
#include <system_error>

#include "core/files.h"
#include "core/paths.h"
#include "models/checkpoint.h"
#include "models/digests.h"
#include "models/model_texts.h"

namespace um {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kMaxSteps = int64_t{1} << 50;  // of any count that a state file holds
constexpr const char* kUnfinished = ".tmp";      // a checkpoint that is being written or removed

std::string step_name(int64_t step) {
  return fmt::format("step-{:08}", step);
}

/// The step of a checkpoint's directory name, or -1.
int64_t step_of(const fs::path& path) {
  const std::string name = path.filename().string();
  if (!name.starts_with("step-") || name.size() < 13 || name.size() > 20) return -1;
  int64_t step = 0;
  for (const char c : name.substr(5)) {
    if (c < '0' || c > '9') return -1;
    step = 10 * step + (c - '0');
  }
  return step;
}

/// The directories of a run's steps, the oldest first.
std::vector<fs::path> step_directories(const fs::path& run_dir) {
  std::vector<fs::path> found;
  for (const fs::path& path : list_directory(run_dir / "checkpoints"))
    if (step_of(path) >= 0) found.push_back(path);
  std::sort(found.begin(), found.end(),
            [](const fs::path& a, const fs::path& b) { return step_of(a) < step_of(b); });
  return found;
}

bool is_complete(const fs::path& step) {
  return path_exists(step / kTrainingStateFile);
}

/// Complete checkpoints, the oldest first.
std::vector<fs::path> checkpoints(const fs::path& run_dir) {
  std::vector<fs::path> found = step_directories(run_dir);
  std::erase_if(found, [](const fs::path& step) { return !is_complete(step); });
  return found;
}

/// Removes all but the newest `keep` checkpoints.
void remove_old(const fs::path& run_dir, int64_t keep) {
  std::error_code ignored;
  const std::vector<fs::path> all = checkpoints(run_dir);
  // Out of the way in one step first: a kill in the middle must not leave half a checkpoint behind.
  for (size_t i = 0; i + static_cast<size_t>(keep) < all.size(); ++i)
    fs::rename(all[i], all[i].string() + kUnfinished, ignored);
  remove_unfinished_checkpoints(run_dir);
}

/// For the message of a save that failed.
std::string what_is_left(const fs::path& run_dir) {
  try {
    const std::vector<fs::path> all = checkpoints(run_dir);
    return all.empty() ? "" : "; the previous checkpoint is intact: " + all.back().string();
  } catch (const Error&) {
    return "";  // the failure itself says more
  }
}

/// In one file: both moments of every parameter that has them, and all f32 weights where the
/// model's own file is bf16.
void write_optimizer(const fs::path& path, const Model& model, const Optimizer& optimizer) {
  struct Part {
    const char* prefix;
    ParamTensor pick;
    std::function<bool(const Param&)> wanted;
  };
  const auto masters = [&](const Param&) { return model.config().dtype != DType::f32; };
  const auto has_states = [&](const Param& p) { return optimizer.has_states(p); };
  const Part parts[] = {
      {"master.", [](const Param& p) -> const Tensor& { return p.value; }, masters},
      {"m.", [&](const Param& p) -> const Tensor& { return optimizer.first_moment(p); },
       has_states},
      {"v.", [&](const Param& p) -> const Tensor& { return optimizer.second_moment(p); },
       has_states}};
  std::vector<TensorSpec> specs;
  std::map<std::string, TensorSource> sources;
  for (const Part& part : parts) {
    const auto some = checkpoint_specs(model.params(), DType::f32, part.prefix, part.wanted);
    specs.insert(specs.end(), some.begin(), some.end());
    sources[part.prefix] = checkpoint_source(model.params(), part.pick, part.prefix);
  }
  write_safetensors(path, specs, [&](const TensorSpec& spec, const TensorSink& sink) {
    sources.at(spec.name.substr(0, spec.name.find('.') + 1))(spec, sink);
  });
}

/// The parameters without optimizer states, by name.
Json without_states(const Model& model, const Optimizer& optimizer) {
  Json names = Json::array();
  for (const auto& param : model.params().all())
    if (!optimizer.has_states(*param)) names.push_back(param->name);
  return names;
}

/// Empty for a checkpoint from before there was the list: it has the states of all parameters.
std::set<std::string> names_without_states(const JsonObject& state) {
  if (!state.has("without_states")) return {};
  const std::vector<std::string> names = state.strings("without_states");
  return {names.begin(), names.end()};
}

void read_states(const SafetensorsFile& file, const std::string& prefix, const Param& param,
                 const Tensor& target, const std::string& where) {
  for (const Piece& piece : param.pieces) {
    const TensorView* view = file.find(prefix + piece.name);
    UM_CHECK(
        view != nullptr && view->dtype == DType::f32 && view->elements() == piece.shape.count(),
        "{}: tensor {}{}: expected f32 {}", where, prefix, piece.name, piece.shape.text());
    std::memcpy(target.f32() + piece.begin(target), view->bytes.data(), view->bytes.size());
  }
}

}  // namespace

fs::path save_checkpoint(const fs::path& run_dir, const Model& model, const Optimizer& optimizer,
                         const RunState& state, const CheckpointTexts& texts, int64_t keep) {
  const fs::path parent = run_dir / "checkpoints";
  fs::path target = parent / step_name(state.step);
  const fs::path temporary = target.string() + kUnfinished;
  try {
    fs::remove_all(temporary);
    CheckpointDirectory output(temporary, [](std::string_view name) {
      return name == kTrainingStateFile || name == kOptimizerFile;
    });
    if (!texts.from.empty()) copy_model_texts(texts.from, temporary);
    save_model(model, temporary);
    write_trained_for(temporary, trained_for_next(texts.from));
    if (texts.finish) texts.finish(temporary);
    write_optimizer(temporary / kOptimizerFile, model, optimizer);
    const Json json{{"step", state.step},
                    {"tokens", state.tokens},
                    {"seconds", state.seconds},
                    {"main_steps", state.main_steps},
                    {"warmup_end", state.warmup_end},
                    {"skipped", state.skipped},
                    {"without_states", without_states(model, optimizer)},
                    {"loader", state.loader}};
    write_file_atomic(temporary / kTrainingStateFile, json.dump(1) + "\n");
    output.seal();
    fs::remove_all(target);  // without its state, or it would have been the one to go on from
    fs::rename(temporary, target);
    output.keep();
    sync_directory(parent);
  } catch (const std::exception& error) {
    fail("checkpoint {}: {}{}", target.string(), error.what(), what_is_left(run_dir));
  }
  remove_old(run_dir, keep);
  return target;
}

std::optional<fs::path> latest_checkpoint(const fs::path& run_dir) {
  const std::vector<fs::path> all = checkpoints(run_dir);
  if (all.empty()) return std::nullopt;
  return all.back();
}

std::vector<fs::path> incomplete_checkpoints(const fs::path& run_dir) {
  std::vector<fs::path> found = step_directories(run_dir);
  std::erase_if(found, is_complete);
  return found;
}

void remove_unfinished_checkpoints(const fs::path& run_dir) {
  std::error_code ignored;
  for (const fs::path& path : list_directory(run_dir / "checkpoints"))
    if (path.extension() == kUnfinished && step_of(path.stem()) >= 0) fs::remove_all(path, ignored);
}

RunState load_checkpoint(const fs::path& checkpoint, Model& model, Optimizer& optimizer) {
  const std::string where = (checkpoint / kTrainingStateFile).string();
  const Json json =
      parse_json(read_file(checkpoint / kTrainingStateFile, uint64_t{16} << 20), where);
  const JsonObject object(json, where);
  RunState state;
  state.step = object.integer("step", 0, kMaxSteps);
  state.tokens = object.integer("tokens", 0, kMaxSteps);
  state.seconds = object.number("seconds", 0, 1e12);
  state.main_steps = object.integer("main_steps", 0, kMaxSteps);
  state.warmup_end = object.number_or("warmup_end", 0, -1, 1e12);
  state.skipped = object.integer("skipped", 0, state.step);
  state.loader = object.object("loader").json();
  const std::set<std::string> stateless = names_without_states(object);
  load_weights(model, open_weights(checkpoint));
  const fs::path states = checkpoint / kOptimizerFile;
  const SafetensorsFile file(states);
  for (const auto& param : model.params().all()) {
    if (model.config().dtype != DType::f32)
      read_states(file, "master.", *param, param->value, states.string());
    // A parameter that trains from now on begins as in a new run.
    if (!optimizer.has_states(*param) || stateless.contains(param->name)) continue;
    read_states(file, "m.", *param, optimizer.first_moment(*param), states.string());
    read_states(file, "v.", *param, optimizer.second_moment(*param), states.string());
  }
  return state;
}

}  // namespace um
