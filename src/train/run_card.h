// Facts about a run for its report and its figures.
#pragma once

#include <string>

#include "data/batch_source.h"
#include "nn/config.h"
#include "train/report.h"

namespace um {

/// The model card of a run: parameters by part, data statistics, machine.
ModelCard run_card(const ModelConfig& config, const SourceDescription& data, bool with_mtp);

/// Processor, cores and memory in a line.
std::string machine_name();

}  // namespace um
