// See trainer.h. Time, not the number of steps, may bound the main phase: its rate then follows the
// clock (schedule.h), and it ends with the step in which the time is up. Otherwise a run is fully
// determined by its options.
#include "train/trainer.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <nlohmann/json.hpp>

#include "core/paths.h"
#include "core/suggest.h"
#include "core/unfinished.h"
#include "core/units.h"
#include "models/checkpoint.h"
#include "models/config.h"
#include "models/count.h"
#include "models/digests.h"
#include "models/expand_mtp.h"
#include "models/model_texts.h"
#include "models/model_weights.h"
#include "text/tokenizer_hash.h"
#include "train/report.h"
#include "train/resume.h"
#include "train/run_card.h"

namespace um {
namespace {

namespace fs = std::filesystem;

double machine_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// The length of the sequence that a token stands in, on average over tokens: what attention costs.
int64_t mean_length(const std::vector<Batch>& batches) {
  double squares = 0, tokens = 0;
  for (const Batch& batch : batches)
    for (size_t s = 0; s + 1 < batch.seq_offsets.size(); ++s) {
      const auto length = static_cast<double>(batch.seq_offsets[s + 1] - batch.seq_offsets[s]);
      squares += length * length;
      tokens += length;
    }
  return std::max<int64_t>(std::llround(squares / tokens), 1);
}

void check_options(const RunOptions& options) {
  const auto refuse = [](bool wrong, const std::string& message) {
    if (wrong) throw UsageError(message);
  };
  for (const std::string& change : options.model.set)
    for (const char* role : {"bos_token_id", "eos_token_id", "pad_token_id", "unk_token_id"})
      refuse(change.starts_with(std::string(role) + "="),
             fmt::format("model.set: {} is that of the corpus' tokenizer", role));
  refuse(options.train.final_lr > options.train.lr && options.train.schedule != "constant",
         fmt::format("train.final_lr {} is above train.lr {}", options.train.final_lr,
                     options.train.lr));
}

}  // namespace

namespace {

/// Only a field that the preset has, or that this architecture writes, can be changed.
void check_field(const std::string& field, const Json& known, const std::string& where) {
  if (known.contains(field)) return;
  std::vector<std::string> names;
  for (const auto& item : known.items()) names.push_back(item.key());
  throw UsageError(fmt::format("model.set: {} has no field {}{}", where, quote(field),
                               did_you_mean(field, names)));
}

/// Where a run begins: the checkpoint it goes on from, the one it starts from, or none.
fs::path find_origin(const fs::path& run_dir, bool resume, const std::string& from) {
  const auto newest = latest_checkpoint(run_dir);
  const std::vector<fs::path> incomplete = incomplete_checkpoints(run_dir);
  UM_CHECK(!resume || newest,
           "{}: no checkpoint to resume from{}; without --resume a new run begins",
           run_dir.string(),
           incomplete.empty() ? "" : " (" + incomplete.back().string() + " has no training state)");
  UM_CHECK(resume || (!newest && incomplete.empty()),
           "{}: holds a run already; go on with --resume or choose another --out",
           run_dir.string());
  return newest ? *newest : from.empty() ? fs::path() : find_model(from);
}

}  // namespace

ModelConfig configure_model(const ModelOptions& options) {
  const auto [config, where] = find_config(options.from.empty() ? options.preset : options.from);
  Json json = parse_json(config, where);
  Json known = json;
  std::vector<std::string> changed;
  for (const std::string& change : options.set) {
    const size_t equals = change.find('=');
    if (equals == std::string::npos || equals == 0)
      throw UsageError(fmt::format("model.set: expected field=value, found \"{}\"", change));
    const std::string text = change.substr(equals + 1);
    Json value = Json::parse(text, nullptr, false);
    changed.push_back(change.substr(0, equals));
    json[changed.back()] = value.is_discarded() ? Json(text) : value;
  }
  const ModelConfig resolved = load_config(json, where);
  known.update(config_to_json(resolved));
  for (const std::string& field : changed) check_field(field, known, where);
  return resolved;
}

Trainer::Trainer(TrainingTask task, RunOptions options, fs::path run_dir, Device& device,
                 bool resume, TrainerHooks hooks)
    : task_(std::move(task)),
      options_(std::move(options)),
      run_dir_(std::move(run_dir)),
      hooks_(std::move(hooks)) {
  if (!hooks_.clock) hooks_.clock = machine_seconds;
  UM_CHECK(!resume || has_run(run_dir_), "{}: no run to resume; without --resume one begins",
           run_dir_.string());
  check_options(options_);
  OutputDirectory directory(run_dir_);  // locked before anybody looks at what is there
  lock_ = std::make_unique<DirectoryLock>(
      run_dir_, "another process is training here; wait for it or choose another --out");
  const fs::path origin = find_origin(run_dir_, resume, options_.model.from);
  if (resume) prepare_resume(origin);
  ModelConfig config = model_config(origin, resume);
  check_phases(config);
  open_data(origin, config);
  memory_ = check_memory(config, options_.train, phases_, *task_.objective);
  make_parts(config, device);
  load_or_initialize(origin);
  if (task_.begin) task_.begin(*model_);
  follow_time();
  open_phase();
  if (!is_complete()) choose_operands();
  directory.clean();  // nothing refuses the run any more
  open_outputs();
  directory.keep();
}

/// The first phase's data, held against the model.
void Trainer::open_data(const fs::path& origin, ModelConfig& config) {
  source_ = task_.stream(phases_.front(), 0);
  const SourceDescription data = source_->describe();
  choose_texts(origin, data, config);
  UM_CHECK(data.vocab_size <= config.vocab,
           "{}: its tokenizer has {} tokens, the model's vocab_size is {}; retrain one or set "
           "--model.set vocab_size={}",
           data.origin, data.vocab_size, config.vocab, data.vocab_size);
}

void Trainer::open_outputs() {
  remove_unfinished_checkpoints(run_dir_);
  metrics_ = std::make_unique<MetricsWriter>(run_dir_, state_.step);
  if (options_.log.tensorboard)
    tensorboard_ = std::make_unique<TensorBoardWriter>(run_dir_, state_.step);
  if (state_.step > 0) spikes_.replay(run_dir_);
  if (!is_complete()) write_options();
}

void Trainer::choose_operands() {
  const Precision precision = choose_precision(options_.train.precision);
  operands_ = precision.operands;
  if (!precision.note.empty()) note("train." + precision.note);
}

/// What the run is trained with from now on.
void Trainer::write_options() {
  Fields fields;
  options_.fields(fields);
  write_file_atomic(run_dir_ / kRunFile, fields.to_toml());
  write_card();
}

void Trainer::note(const std::string& text) const {
  if (hooks_.note) hooks_.note(text);
}

/// Says which checkpoint the run goes on from, and with which changes.
void Trainer::prepare_resume(const fs::path& checkpoint) {
  for (const fs::path& step : incomplete_checkpoints(run_dir_))
    note(fmt::format("{}: no training_state.json: passed over", step.string()));
  for (const std::string& change : resume_changes(run_dir_, options_)) note(change);
  check_digests(checkpoint, DigestScope::all);
  last_checkpoint_ = checkpoint;
}

/// A run that goes on keeps the model of its checkpoint, whatever became of the preset.
ModelConfig Trainer::model_config(const fs::path& origin, bool resume) {
  ModelConfig config = resume ? read_config(origin) : configure_model(options_.model);
  std::vector<std::string> warnings;
  if (!origin.empty()) open_model_weights(origin, config, &warnings);
  for (const std::string& warning : warnings) note(warning);
  return config;
}

/// Makes the plan and holds it against the model.
void Trainer::check_phases(const ModelConfig& config) {
  phases_ = plan_phases(options_.train, main_steps());
  for (const Phase& phase : phases_)
    if (phase.seq_len > config.max_positions)
      throw UsageError(
          fmt::format("train.seq_len {0}: the model's max_position_embeddings is {1}, and its "
                      "checkpoints would "
                      "not be used beyond; add --model.set max_position_embeddings={0}",
                      phase.seq_len, config.max_positions));
  const Phase& main = phases_.front();
  if (main.seconds == 0 && main.warmup == main.end && main.end > 1)
    note(fmt::format("train.warmup {}: as long as the main phase of {} steps: the rate only rises",
                     options_.train.warmup, main.end));
}

void Trainer::make_parts(const ModelConfig& config, Device& device) {
  const TrainOptions& train = options_.train;
  model_ = make_model(config, device);
  if (train.freeze != "none") {
    if (config.mtp_layers == 0)
      throw UsageError("train.freeze: the model has no MTP head that would train");
    freeze_trunk(*model_, train.freeze == "first_head" ? 1 : 0);
  }
  optimizer_ = std::make_unique<Optimizer>(
      model_->params(),
      AdamWOptions{train.beta1, train.beta2, train.eps, train.weight_decay, train.clip});
  const bool run_mtp = train.mtp_weight > 0;
  balance_ = std::make_unique<BalanceLoss>(
      balance_scope_from_name(train.balance), train.balance_weight, model_->moe_layers(),
      run_mtp ? model_->moe_layers() : model_->trunk_moe_layers());
  if (balance_->scope() == BalanceScope::bias && model_->moe_layers() > 0 &&
      model_->router_biases()[0] == nullptr)
    throw UsageError(
        "train.balance = bias needs a router bias: --model.set router_enable_expert_bias=true");
}

/// Checkpoints keep the tokenizer of the model they come from, else they get the task's.
void Trainer::choose_texts(const fs::path& origin, const SourceDescription& data,
                           ModelConfig& config) {
  if (last_checkpoint_.empty())  // a run that goes on keeps its corpora: check_stream
    require_tokenizer_of(origin, data.tokenizer_hash, data.origin, "pack the text with it");
  const bool kept = has_tokenizer(origin);
  if (!kept && !origin.empty())
    note(fmt::format("{}: has no tokenizer, taken to belong to that of {}", origin.string(),
                     data.origin));
  texts_ = kept ? origin : task_.texts;
  if (options_.model.from.empty() && has_tokenizer(task_.texts)) clear_token_ids(config);
}

/// The run's last state, else the checkpoint it starts from, else random weights.
void Trainer::load_or_initialize(const fs::path& origin) {
  const auto stage = [&](const std::string& text) {
    if (hooks_.stage) hooks_.stage(text);
  };
  if (!last_checkpoint_.empty()) {
    stage("loading " + last_checkpoint_.string());
    state_ = load_checkpoint(last_checkpoint_, *model_, *optimizer_);
  } else if (!origin.empty()) {
    stage("loading " + origin.string());
    ModelConfig config = model_->config();
    load_weights(*model_, open_model_weights(origin, config));
  } else {
    stage(fmt::format("making random weights: {} parameters",
                      short_count(static_cast<double>(model_->params().count()))));
    model_->params().initialize(static_cast<uint64_t>(options_.model.seed));
  }
}

/// The main phase's length as far as it is known.
int64_t Trainer::main_steps() const {
  if (options_.train.minutes <= 0) return options_.train.steps;
  return state_.main_steps > 0 ? state_.main_steps : kOpenEnd;
}

/// Ends the main phase when its time is up. A resumed run may have been given more time, or less.
void Trainer::follow_time() {
  const double budget = options_.train.minutes * 60;
  const bool later_phase = state_.main_steps > 0 && state_.step > state_.main_steps;
  if (budget <= 0)
    state_.main_steps = options_.train.steps;
  else if (!later_phase)
    state_.main_steps = state_.seconds < budget ? 0 : state_.step;
  if (phases_.front().end == main_steps()) return;
  const bool in_main = phase_ == &phases_.front();
  phases_ = plan_phases(options_.train, main_steps());
  if (in_main) phase_ = &phases_.front();
}

/// The run's last step; while time bounds the main phase, at the mean speed so far (0: no step
/// yet).
int64_t Trainer::estimated_end() const {
  const int64_t end = phases_.back().end;
  if (end < kOpenEnd) return end;
  if (state_.step == 0) return 0;
  const double left = phases_.front().seconds - state_.seconds;
  const double step_seconds = state_.seconds / static_cast<double>(state_.step);
  return end - kOpenEnd + state_.step + std::max<int64_t>(std::llround(left / step_seconds), 1);
}

void Trainer::open_phase() {
  const Phase* next = &phase_at(phases_, state_.step);
  if (next == phase_) return;
  const auto index = static_cast<size_t>(next - phases_.data());
  if (phase_ != nullptr || index > 0 || state_.step > 0) source_ = task_.stream(*next, index);
  // At a phase's first step its stream begins; otherwise a resumed run goes on where it stood.
  if (phase_ == nullptr && state_.step > 0) {
    check_stream(state_.loader, *source_, *next, index, state_.step);
    if (state_.step > next->begin)
      source_->restore(state_.loader);
    else
      source_->follow(state_.loader);
  }
  phase_ = next;
  if (phase_->rope_theta > 0) model_->set_rope_theta(phase_->rope_theta);
}

void Trainer::write_card() {
  ModelCard card = run_card(model_->config(), source_->describe(), options_.train.mtp_weight > 0);
  card.name = options_.model.from.empty() ? fs::path(options_.model.preset).filename().string()
                                          : fs::absolute(run_dir_).filename().string();
  card.command = hooks_.command;
  card.planned_steps = estimated_end();
  if (operands_ == Operands::bf16)
    card.facts.emplace_back("Precision", "products of bf16; sums, weights and the rest in f32");
  write_model_card(run_dir_, card);
}

std::vector<Batch> Trainer::next_batches() {
  std::vector<Batch> batches(static_cast<size_t>(options_.train.accumulate));
  try {
    for (Batch& batch : batches)
      UM_CHECK(source_->next(batch), "step {}: the data has ended: fewer train.steps, or more data",
               state_.step + 1);
  } catch (const Error&) {
    if (state_.step > saved_step_) save();  // the steps that were done are not lost
    throw;
  }
  return batches;
}

StepOptions Trainer::step_options(bool rms) const {
  return {.gradients = true,
          .recompute = options_.train.recompute,
          .balance = balance_.get(),
          .activation_rms = rms};
}

/// The rate of the next update, which comes after `elapsed` seconds of training.
double Trainer::next_rate(double elapsed) {
  if (phase_->seconds > 0 && state_.warmup_end < 0 && phase_->warmed(state_.step, elapsed) >= 1) {
    state_.warmup_end = elapsed;
    if (const int64_t done = state_.step + 1; done < phase_->warmup)
      note(fmt::format("warm-up cut to {} of {} steps: a tenth of train.minutes", done,
                       phase_->warmup));
  }
  return phase_->rate(state_.step, elapsed, std::max(state_.warmup_end, 0.0));
}

void Trainer::step() {
  const Multiplying multiplying(model_->device(), operands_);
  const double start = hooks_.clock();
  const std::vector<Batch> batches = next_batches();
  const int64_t every = options_.log.rms_every;
  const bool rms = every > 0 && (state_.step % every == 0);
  model_->params().reset_grads();
  const StepLosses losses = task_.objective->run(*model_, batches, step_options(rms));
  const double norm = optimizer_->grad_norm();
  const double lr = next_rate(state_.seconds + hooks_.clock() - start);
  const bool bad = !std::isfinite(norm) || !std::isfinite(losses.lm);
  if (bad) {
    skip(batches);
  } else {
    skips_in_a_row_ = 0;
    optimizer_->update(lr, state_.step + 1 - state_.skipped, norm);
    if (balance_->scope() == BalanceScope::bias)
      for (size_t i = 0; i < balance_->loads().size(); ++i)
        if (Param* bias = model_->router_biases()[i]; bias && !balance_->loads()[i].counts.empty())
          update_router_bias(bias->value, balance_->loads()[i].counts, options_.train.bias_rate);
  }
  if (task_.updated) task_.updated();
  const double seconds = hooks_.clock() - start;
  state_.step += 1;
  state_.seconds += seconds;
  for (const Batch& batch : batches) state_.tokens += batch.size();
  follow_time();
  measure(batches, losses, norm, lr, seconds, bad);
}

/// Leaves a step that is not finite out, or ends the run.
void Trainer::skip(const std::vector<Batch>& batches) {
  const TrainOptions& train = options_.train;
  if (train.on_nan == "stop")
    explain_non_finite(batches, "a lower train.lr, or with train.on_nan = skip");
  ++state_.skipped;
  if (++skips_in_a_row_ >= train.max_skips)
    explain_non_finite(batches, fmt::format("a lower train.lr: {} steps in a row were skipped "
                                            "(train.max_skips)",
                                            skips_in_a_row_));
  note(fmt::format("step {}: not finite, skipped", state_.step + 1));
}

void Trainer::explain_non_finite(const std::vector<Batch>& batches, const std::string& advice) {
  std::string culprit = "the gradients' sum";
  Device& device = model_->device();
  try {
    const FiniteChecking checking(device);
    model_->params().reset_grads();
    task_.objective->run(*model_, batches, step_options(false));
  } catch (const Error& error) {
    culprit = error.what();
  }
  fail("step {}: the loss or a gradient is not finite: {}; last good checkpoint: {}; go on with {}",
       state_.step + 1, culprit,
       last_checkpoint_.empty() ? std::string("none") : last_checkpoint_.string(), advice);
}

void Trainer::measure(const std::vector<Batch>& batches, const StepLosses& losses, double norm,
                      double lr, double seconds, bool skipped) {
  int64_t tokens = 0;
  for (const Batch& batch : batches) tokens += batch.size();
  StepMetrics m;
  m.step = state_.step;
  m.time_s = state_.seconds;
  m.tokens = state_.tokens;
  m.loss = losses.lm;
  m.mtp_loss = losses.mtp;
  m.balance_loss = losses.balance;
  m.z_loss = losses.z;
  m.grad_norm = norm;
  m.spike = spikes_.observe(norm);
  m.skipped = skipped;
  m.lr = lr;
  m.tokens_per_s = static_cast<double>(tokens) / seconds;
  m.model_flops_per_s =
      m.tokens_per_s * training_flops(model_->config(), mean_length(batches), !losses.mtp.empty());
  m.activation_rms = losses.activation_rms;
  if (task_.measures) m.measures = task_.measures();
  for (size_t i = 0; i < balance_->loads().size(); ++i)
    if (!balance_->loads()[i].counts.empty())
      m.moe.push_back(
          expert_load(static_cast<int>(model_->config().dense_layers + static_cast<int64_t>(i)),
                      balance_->loads()[i].counts));
  metrics_->write(m);
  if (tensorboard_) tensorboard_->write(m);
  if (!hooks_.progress) return;
  const int64_t last = estimated_end();
  hooks_.progress(
      m, last,
      static_cast<double>(last - state_.step) * state_.seconds / static_cast<double>(state_.step));
}

namespace {

/// A loss as a sum, to be joined with others.
struct LossSum {
  double nats = 0, targets = 0;

  void add(const LossSum& other) { nats += other.nats, targets += other.targets; }
  double mean() const { return nats / targets; }
};

/// Over the first `limit` batches, 0: all.
LossSum held_out_loss(const Model& model, BatchSource& source, int64_t limit) {
  const NextTokenObjective plain({});
  LossSum sum;
  Batch batch;
  for (int64_t i = 0; (limit == 0 || i < limit) && source.next(batch); ++i) {
    const double weight = total_weight(batch.targets, batch.weights);
    sum.add({plain.run(model, {&batch, 1}, {}).lm * weight, weight});
  }
  return sum;
}

}  // namespace

void Trainer::validate() {
  if (!task_.held_out) return;
  LossSum all;
  ValidationPoint point{.step = state_.step, .tokens = state_.tokens};
  for (const HeldOut& part : task_.held_out(*phase_)) {
    const LossSum sum = held_out_loss(*model_, *part.source, options_.log.eval_batches);
    if (sum.targets == 0) continue;
    all.add(sum);
    if (!part.name.empty()) point.parts.emplace_back(part.name, sum.mean());
  }
  if (all.targets == 0) return;
  point.loss = all.mean();
  metrics_->write(point);
  if (tensorboard_) tensorboard_->write(point);
}

void Trainer::write_samples() {
  if (!hooks_.sample) return;
  const auto write = [&](const std::string& prompt) {
    metrics_->write(
        Sample{state_.step, prompt, hooks_.sample(*model_, prompt, options_.log.sample_tokens)});
  };
  try {
    std::ranges::for_each(options_.log.sample_prompts, write);
  } catch (const Error& error) {  // no reason to end a run
    note(fmt::format("sample: {}", error.what()));
  }
}

void Trainer::refresh_report(bool live) {
  report_seconds_ = hooks_.clock();
  try {
    if (options_.train.minutes > 0) write_card();  // the length is better known than before
    write_report(run_dir_,
                 {.live = live, .refresh_s = static_cast<int>(options_.log.report_seconds)});
  } catch (const Error& error) {
    note(fmt::format("report: {}", error.what()));
  }
}

void Trainer::save() {
  state_.loader = source_->state();
  metrics_->sync();
  last_checkpoint_ = save_checkpoint(run_dir_, *model_, *optimizer_, state_,
                                     {texts_, task_.finish_texts}, options_.log.keep);
  texts_ = last_checkpoint_;  // what the run began with may be gone by the next one
  saved_step_ = state_.step;
}

/// Whether something that is done `every` so many steps (0: never) is done at this one.
bool Trainer::due(int64_t every) const {
  return every > 0 && state_.step % every == 0;
}

void Trainer::after_step() {
  const LogOptions& log = options_.log;
  if (due(log.eval_every)) validate();
  if (due(log.sample_every)) write_samples();
  if (due(log.checkpoint_every)) save();
  if (hooks_.clock() - report_seconds_ > log.report_seconds) refresh_report(true);
}

fs::path Trainer::run() {
  if (is_complete()) {  // resumed, but there was nothing left to do
    refresh_report(false);
    return last_checkpoint_;
  }
  if (state_.step == 0 && options_.log.eval_every > 0) validate();
  bool interrupted = false;
  while (state_.step < phases_.back().end && !interrupted) {
    step();
    after_step();
    interrupted = hooks_.interrupted && hooks_.interrupted();
    if (!interrupted) open_phase();  // a checkpoint at a phase's end is that phase's
  }
  const LogOptions& log = options_.log;
  if (!interrupted && log.eval_every > 0 && !due(log.eval_every)) validate();
  if (saved_step_ != state_.step) save();
  if (!interrupted && log.sample_every > 0 && !due(log.sample_every)) write_samples();
  refresh_report(false);
  return last_checkpoint_;
}

}  // namespace um
