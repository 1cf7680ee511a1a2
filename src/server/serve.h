// The server as a program: listens, loads the model, serves until a signal, drains.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>

#include "core/device.h"
#include "models/checkpoint.h"
#include "server/options.h"

namespace um {

/// Takes a line for people, on any thread.
using Note = std::function<void(const std::string&)>;

/// Serves the checkpoint in `directory` until SIGTERM or SIGINT; a second signal ends the process
/// at once. Requests are logged to `note` too. `weights` as for load_model. While weights load,
/// `progress` is called several times a second. Throws Error if the port or the model cannot be
/// had.
void serve(const ServeOptions& options, const std::filesystem::path& directory, Device& device,
           std::optional<WeightTypes> weights, const Note& note, const LoadProgress& progress);

}  // namespace um
