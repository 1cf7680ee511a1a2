// See bits.h.
#include "quant/bits.h"

#include <array>
#include <cmath>

#include "core/error.h"
#include "models/pack_export.h"
#include "ops/launch.h"
#include "quant/gradients.h"
#include "quant/knapsack.h"
#include "quant/round_matrix.h"

namespace um {
namespace {

constexpr std::array<RowFormat, 2> kFormats{kW4Rows, kW8Rows};

/// A parameter's quantised matrices, and what they cost in each format.
struct Unit {
  std::vector<std::string> matrices;
  int64_t values = 0;
  std::vector<Choice> choices;  ///< bytes and losses, in the order of kFormats
  std::vector<std::map<std::string, double>> losses;
};

/// Matrices whose losses are not known: more than all that are.
constexpr double kUnknown = 1e6;

class BitChooser {
 public:
  BitChooser(const Conversion& plan, Device& device) : plan_(plan), device_(device) {}

  /// Adds a parameter without knowing what it costs: the loss is `each` times its values in 4 bits.
  void add_blind(const Param& param, double each) {
    add(param, !kKnown, [&](const Piece& piece, RowFormat format) {
      return format == kW4Rows ? each * static_cast<double>(piece.shape.count()) : 0.0;
    });
  }

  /// Adds a parameter that is in memory, with what was recorded of its gradients.
  void add_measured(const Param& param, const GradientRecorder& recorded, int64_t tokens) {
    if (!param.slot.written) return add_blind(param, kUnknown);
    add(param, kKnown, [&](const Piece& piece, RowFormat format) {
      return expected_loss(param, piece, format, recorded) / static_cast<double>(tokens);
    });
  }

  BitChoice choose(double bits) const {
    std::vector<std::vector<Choice>> items;
    int64_t values = 0;
    for (const Unit& unit : units_) {
      items.push_back(unit.choices);
      values += unit.values;
    }
    const auto budget = static_cast<int64_t>(bits / 8 * static_cast<double>(values));
    const std::vector<size_t> chosen = choose_within(items, budget);
    BitChoice choice;
    choice.formats = kW4Rows;
    double bytes = 0;
    for (size_t i = 0; i < units_.size(); ++i) {
      bytes += static_cast<double>(units_[i].choices[chosen[i]].cost);
      choice.losses.merge(std::map(units_[i].losses[chosen[i]]));
      if (kFormats[chosen[i]] == choice.formats.matrices) continue;
      for (const std::string& name : units_[i].matrices)
        choice.formats.others[name] = kFormats[chosen[i]];
    }
    choice.bits = 8 * bytes / static_cast<double>(values);
    return choice;
  }

 private:
  static constexpr bool kKnown = true;  // losses are what is expected, and are told

  /// `loss`: of a piece in a format.
  template <class Loss>
  void add(const Param& param, bool known, Loss loss) {
    Unit unit;
    std::vector<const Piece*> pieces;
    for (const Piece& piece : param.pieces) {
      if (!plan_.packs(piece.name)) continue;
      pieces.push_back(&piece);
      unit.matrices.push_back(piece.name);
      unit.values += piece.shape.count();
    }
    if (pieces.empty()) return;
    for (const RowFormat& format : kFormats) {
      Choice choice{0, 0};
      std::map<std::string, double> losses;
      bool fits = true;
      for (const Piece* piece : pieces) {
        const StoredWeight& stored = plan_.source().at(piece->name);
        fits = fits && is_packed(piece->name, stored, format);
        choice.cost += stored.rows() * format.row_bytes(stored.columns());
        choice.loss += losses[piece->name] = loss(*piece, format);
      }
      if (!fits) break;
      if (!known) losses.clear();
      unit.choices.push_back(choice);
      unit.losses.push_back(std::move(losses));
    }
    units_.push_back(std::move(unit));
  }

  /// ½ Σ (g·E·x)².
  double expected_loss(const Param& param, const Piece& piece, RowFormat format,
                       const GradientRecorder& recorded) {
    const InputGradients seen = recorded.find(param, piece);
    if (seen.rows == 0) return 0;
    const int64_t out = piece.shape[0];
    const float* values = param.value.f32() + piece.begin(param.value);
    const Tensor weights = Tensor::from(
        device_, piece.shape, std::span(values, static_cast<size_t>(piece.shape.count())));
    const Tensor left = residue(
        weights, MatrixRounder(RoundMethod::ssz).round(weights, format, nullptr).rows, format);
    const Tensor x = Tensor::from(device_, {seen.rows, seen.in}, std::span(seen.inputs));
    const Tensor y = products(x, left);
    double sum = 0;
    for (int64_t r = 0; r < seen.rows; ++r) {
      double change = 0;
      for (int64_t c = 0; c < out; ++c)
        change +=
            double{seen.gradients[static_cast<size_t>(r * out + c)]} * double{y.f32()[r * out + c]};
      sum += change * change;
    }
    UM_CHECK(std::isfinite(sum),
             "{}: {}: its gradients are NaN or Inf when the calibration text runs through; the "
             "weights are damaged",
             plan_.source().where(), piece.name);
    return sum / 2;
  }

  const Conversion& plan_;
  Device& device_;
  std::vector<Unit> units_;
};

}  // namespace

BitChoice choose_bits(const Conversion& plan, std::vector<Batch> batches, double bits,
                      Device& device,
                      const std::function<void(int64_t step, int64_t steps)>& progress) {
  LayerWalk walk(plan.config(), plan.source(), device, std::move(batches), true);
  BitChooser chooser(plan, device);
  const int64_t trunk = walk.trunk_layers();
  for (int64_t layer = 0; layer < trunk; ++layer) {
    progress(layer, 2 * trunk);
    walk.load();
    walk.run();
    walk.release();
  }
  const int64_t tokens = walk.turn();
  for (int64_t layer = trunk - 1; layer >= 0; --layer) {
    progress(2 * trunk - 1 - layer, 2 * trunk);
    walk.load();
    const std::vector<const Param*> matrices = walk.matrices(layer);
    GradientRecorder recorder(matrices);
    {
      const Observing watched(device, recorder);
      walk.run();
    }
    for (const Param* param : matrices) chooser.add_measured(*param, recorder, tokens);
    walk.release();
  }
  for (int64_t layer = trunk; layer < walk.layers(); ++layer)
    for (const Param* param : walk.matrices(layer)) chooser.add_blind(*param, 0);
  return chooser.choose(bits);
}

int64_t bit_choice_bytes(const ModelConfig& config, int64_t tokens) {
  // A layer with its gradients, what entered every layer, and a layer's activations with theirs.
  const int64_t states = (config.layers + 2) * (config.streams > 1 ? config.streams : 2);
  return 2 * LayerWalk::largest_layer_bytes(config) +
         4 * tokens * (states * config.hidden + 4 * input_channels(config));
}

}  // namespace um
