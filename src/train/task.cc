// See task.h.
#include "train/task.h"

#include "core/error.h"
#include "data/loader.h"

namespace um {
namespace {

void check_data(const DataOptions& data) {
  if (data.path.empty())
    throw UsageError("data.path: name at least one packed corpus (ultramoe data pack)");
  if (!data.weights.empty() && data.weights.size() != data.path.size())
    throw UsageError(fmt::format("data.weights: expected one for each of {} corpora, found {}",
                                 data.path.size(), data.weights.size()));
}

std::unique_ptr<BatchSource> open_corpora(const DataOptions& data, const Phase& phase, size_t index,
                                          bool val) {
  check_data(data);
  LoaderOptions loader{.sources = {},
                       .batch = phase.batch,
                       .seq_len = phase.seq_len,
                       .seed = static_cast<uint64_t>(data.seed) + index,
                       .val = val,
                       .one_pass = val};
  for (size_t i = 0; i < data.path.size(); ++i)
    loader.sources.push_back({data.path[i], data.weights.empty() ? 1.0 : data.weights[i]});
  return std::make_unique<Loader>(std::move(loader));
}

}  // namespace

TrainingTask pretraining(const RunOptions& options) {
  const DataOptions data = options.data;
  TrainingTask task;
  task.stream = [data](const Phase& phase, size_t index) {
    return open_corpora(data, phase, index, false);
  };
  task.held_out = [data](const Phase& phase) {
    std::vector<HeldOut> all(1);
    all[0].source = open_corpora(data, phase, 0, true);
    return all;
  };
  task.objective = std::make_shared<NextTokenObjective>(
      NextTokenOptions{.mtp_weight = options.train.mtp_weight, .z_weight = options.train.z_weight});
  if (!data.path.empty()) task.texts = data.path[0];
  return task;
}

}  // namespace um
