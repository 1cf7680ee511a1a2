// See debug.h.
#include "train/debug.h"

#include <algorithm>
#include <deque>
#include <nlohmann/json.hpp>

#include "core/json.h"
#include "models/checkpoint.h"
#include "models/device_batch.h"
#include "train/objective.h"

namespace um {
namespace {

Batch make_batch(const Sequences& sequences) {
  Batch batch;
  for (const auto& sequence : sequences) add_sequence(batch, sequence);
  return batch;
}

/// Tensors in memory on their way into a file.
class Collected {
 public:
  void add(const std::string& name, std::vector<int64_t> shape, std::vector<float> values) {
    values_.push_back(std::move(values));
    TensorView view;
    view.name = name;
    view.dtype = DType::f32;
    view.shape = std::move(shape);
    view.bytes = std::as_bytes(std::span(values_.back()));
    views_.push_back(std::move(view));
  }
  void write(const std::filesystem::path& path) const { write_safetensors(path, views_); }

 private:
  std::deque<std::vector<float>> values_;
  std::vector<TensorView> views_;
};

/// One entry per sequence: its rows but the last `dropped`.
void add_logits(Collected& out, const std::string& prefix, const Model& model, const Tensor& hidden,
                const Batch& batch, int64_t dropped) {
  for (int64_t s = 0; s < batch.sequences(); ++s) {
    const int64_t begin = batch.seq_offsets[static_cast<size_t>(s)];
    const int64_t end = std::max(begin, batch.seq_offsets[static_cast<size_t>(s) + 1] - dropped);
    const Tensor logits = model.logits(hidden.row_range(begin, end));
    out.add(fmt::format("{}logits.{}", prefix, s), {end - begin, model.config().vocab},
            logits.to_vector());
  }
}

}  // namespace

Sequences read_sequences(const std::filesystem::path& path, int64_t vocab) {
  const nlohmann::json json = parse_json(read_file(path, uint64_t{64} << 20), path.string());
  UM_CHECK(json.is_array() && !json.empty(), "{}: expected a list of lists of token ids",
           path.string());
  Sequences sequences;
  for (const auto& entry : json) {
    UM_CHECK(entry.is_array() && !entry.empty(), "{}: entry {}: expected a list of token ids",
             path.string(), sequences.size());
    auto& sequence = sequences.emplace_back();
    for (const auto& token : entry) {
      UM_CHECK(token.is_number_integer() && token >= 0 && token < vocab,
               "{}: entry {}: expected a token id from 0 to {}, found {}", path.string(),
               sequences.size() - 1, vocab - 1, token.dump());
      sequence.push_back(token.get<int32_t>());
    }
  }
  return sequences;
}

void write_debug_logits(const Model& model, const Sequences& sequences,
                        const std::filesystem::path& path) {
  const Batch host = make_batch(sequences);
  const DeviceBatch batch(model, host);
  Collected out;
  const TrunkOutput trunk = model.trunk(batch.tokens(), batch.rows(), {});
  add_logits(out, "", model, trunk.hidden, host, 0);
  Tensor state = trunk.hidden;
  for (int64_t k = 0; k < model.mtp_heads(); ++k) {
    const MtpOutput head = model.mtp(k, state, batch.mtp_tokens(k), batch.rows(), {});
    add_logits(out, fmt::format("mtp.{}.", k + 1), model, head.hidden, host, k + 1);
    state = head.state;
  }
  out.write(path);
}

void write_debug_grads(Model& model, const Sequences& sequences, double mtp_weight,
                       double balance_weight, const std::filesystem::path& path) {
  const Batch batch = make_batch(sequences);
  BalanceLoss balance(BalanceScope::ep_group, balance_weight, model.moe_layers(),
                      model.trunk_moe_layers());
  model.params().reset_grads();
  StepLosses losses = NextTokenObjective({.mtp_weight = mtp_weight})
                          .run(model, {&batch, 1}, {.gradients = true, .balance = &balance});
  if (mtp_weight == 0)  // then the heads did not run; their loss is asked for all the same
    losses.mtp = NextTokenObjective({.mtp_weight = 1}).run(model, {&batch, 1}, {}).mtp;
  Collected out;
  auto scalar = [&](const std::string& name, double value) {
    out.add("loss." + name, {}, {static_cast<float>(value)});
  };
  scalar("lm", losses.lm);
  scalar("mtp", losses.mtp_mean());
  scalar("balance", losses.balance);
  scalar("total", losses.lm + mtp_weight * losses.mtp_mean() + balance_weight * losses.balance);
  for (const auto& param : model.params().all()) {
    std::vector<float> grad(static_cast<size_t>(param->value.count()), 0.0f);
    if (param->slot.written) grad = param->slot.grad.to_vector();
    for (const Piece& piece : param->pieces) {
      std::vector<int64_t> shape;
      shape.reserve(static_cast<size_t>(piece.shape.rank()));
      for (int i = 0; i < piece.shape.rank(); ++i) shape.push_back(piece.shape[i]);
      const auto begin = grad.begin() + piece.begin(param->value);
      out.add("grad." + piece.name, shape, {begin, begin + piece.shape.count()});
    }
  }
  out.write(path);
}

}  // namespace um
