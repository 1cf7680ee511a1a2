// See options.h.
#include "train/options.h"

namespace um {
namespace {
const std::vector<std::string> kSchedules = {"cosine", "linear", "constant"};
}

void PhaseOptions::fields(Fields& f) {
  f.add("steps", steps, "updates in this phase", {.min = 1, .max = 1e9});
  f.add("batch", batch, "sequences per micro-batch, 0 as in [train]", {.min = 0, .max = 1e6});
  f.add("seq_len", seq_len, "longest sequence, 0 as in [train]",
        {.unit = "tokens", .min = 0, .max = 1 << 20});
  f.add("lr", lr, "learning rate at the start, 0: final_lr of [train]", {.min = 0, .max = 10});
  f.add("final_lr", final_lr, "learning rate at the end, 0: lr", {.min = 0, .max = 10});
  f.add("schedule", schedule, "way from lr to final_lr", {.choices = kSchedules});
  f.add("rope_theta", rope_theta, "RoPE base, 0: the model's", {.min = 0, .max = 1e12});
}

void ModelOptions::fields(Fields& f) {
  f.add("preset", preset, "preset's name or a directory with config.json");
  f.add("from", from, "model directory or .gguf file to start from (random weights when empty)");
  f.add("set", set, "changes to config.json", {.pairs = true});
  f.add("seed", seed, "seed of the random weights", {.min = 0, .max = 1e15});
}

void DataOptions::fields(Fields& f) {
  f.add("path", path, "packed corpora (ultramoe data pack)");
  f.add("weights", weights, "share of tokens from each corpus, relative", {.min = 0, .max = 1e9});
  f.add("seed", seed, "seed of the order of documents", {.min = 0, .max = 1e15});
}

void ChatDataOptions::fields(Fields& f) {
  f.add("path", path, "files of conversations (docs/fine_tuning.md has the forms)");
  f.add("weights", weights,
        "share of tokens from each file, relative; none: as many as there are in it",
        {.min = 0, .max = 1e9});
  f.add("epochs", epochs, "passes over the files; 0: train.steps bound the run",
        {.min = 0, .max = 1e6});
  f.add("valid", valid, "files to validate on");
  f.add("hold_out", hold_out, "share of the conversations that validates, where no file does",
        {.min = 0, .max = 0.5});
  f.add("answers", answers, "which of the assistant's messages are learnt",
        {.choices = {"all", "last"}});
  f.add("on_bad", on_bad, "what a record does that cannot be read", {.choices = {"stop", "skip"}});
  f.add("too_long", too_long, "what happens to conversations of more than train.seq_len tokens",
        {.choices = {"skip", "cut", "stop"}});
  f.add("chat_template", chat_template, "a file with a Jinja template, in place of the model's");
  f.add("seed", seed, "seed of the order of conversations", {.min = 0, .max = 1e15});
}

void GrpoOptions::fields(Fields& f) {
  f.add("path", path, "files of questions whose answers can be checked (docs/tasks.md)");
  f.add("mode", mode, "how the model is asked to think; default: as each record says",
        {.choices = {"default", "slow", "fast", "auto"}});
  f.add("prompts", prompts, "questions of a step, each with answers that differ in reward",
        {.min = 1, .max = 1 << 16});
  f.add("group", group, "answers to each question", {.min = 2, .max = 1 << 12});
  f.add("updates", updates, "updates with one set of answers, each with a part of the questions",
        {.min = 1, .max = 64});
  f.add("max_tokens", max_tokens, "longest answer", {.unit = "tokens", .min = 1, .max = 1 << 20});
  f.add("loss", loss, "how answers and tokens are weighed (docs/grpo.md)",
        {.choices = {"grpo", "dapo", "dr_grpo", "gspo"}});
  f.add("scale", scale, "whether advantages are divided by the group's standard deviation",
        {.choices = {"group", "none"}});
  f.add("clip_low", clip_low, "a ratio below 1 minus this teaches no more", {.min = 0, .max = 1});
  f.add("clip_high", clip_high, "a ratio above 1 plus this teaches no more",
        {.min = 0, .max = 100});
  f.add("rewards", rewards,
        "rewards with their weights: right (the checker's verdict), finished (the answer ends by "
        "itself), brief (it is not overlong), thought (it has thinking)",
        {.pairs = true});
  f.add("overlong", overlong,
        "reward brief: falls over the last so many of max_tokens from 0 to -1",
        {.unit = "tokens", .min = 0, .max = 1 << 20});
  f.add(
      "mine", mine,
      "questions that were all right or all wrong rest until the next stage (hard example mining)");
  f.add("stage", stage, "updates of a stage, after which all questions are tried again",
        {.min = 1, .max = 1e9});
  f.add("max_waves", max_waves,
        "samplings of a step at most; with fewer useful questions the step takes what there is",
        {.min = 1, .max = 1000});
  f.add("seed", seed, "seed of the questions' order and of sampling", {.min = 0, .max = 1e15});
}

void TrainOptions::fields(Fields& f) {
  f.add("steps", steps, "updates in the main phase (when minutes is 0)", {.min = 1, .max = 1e9});
  f.add("minutes", minutes,
        "training time of the main phase, whose rate then follows the clock; 0: steps bound it",
        {.unit = "min", .min = 0, .max = 1e6});
  f.add("batch", batch, "sequences per micro-batch", {.min = 1, .max = 1e6});
  f.add("seq_len", seq_len, "longest sequence", {.unit = "tokens", .min = 2, .max = 1 << 20});
  f.add("accumulate", accumulate, "micro-batches per update", {.min = 1, .max = 4096});
  f.add("lr", lr, "peak learning rate", {.min = 0, .max = 10});
  f.add("final_lr", final_lr, "learning rate at the end", {.min = 0, .max = 10});
  f.add("schedule", schedule, "way from lr to final_lr after the warm-up", {.choices = kSchedules});
  f.add("warmup", warmup, "updates of linear warm-up (with minutes at most a tenth of the time)",
        {.min = 0, .max = 1e9});
  f.add("beta1", beta1, "AdamW's first moment", {.min = 0, .max = 0.9999});
  f.add("beta2", beta2, "AdamW's second moment", {.min = 0, .max = 0.99999});
  f.add("eps", eps, "AdamW's epsilon", {.min = 1e-20, .max = 1});
  f.add("weight_decay", weight_decay, "decoupled decay of matrices (not of gains and biases)",
        {.min = 0, .max = 10});
  f.add("clip", clip, "largest global gradient norm, 0 for none", {.min = 0, .max = 1e9});
  f.add("mtp_weight", mtp_weight, "weight of the multi-token-prediction loss",
        {.min = 0, .max = 100});
  f.add("z_weight", z_weight, "weight of the z-loss (squared log-sum-exp)", {.min = 0, .max = 1});
  f.add("balance", balance, "scope of the expert balance loss",
        {.choices = {"none", "sequence", "micro_batch", "ep_group", "global", "bias"}});
  f.add("balance_weight", balance_weight, "weight of the balance loss", {.min = 0, .max = 100});
  f.add("bias_rate", bias_rate, "step of the router bias with balance = bias",
        {.min = 0, .max = 1});
  f.add(
      "precision", precision,
      "what operands of large matrix products are rounded to, in f32 sums; auto: bf16 where it is "
      "measured to be fast",
      {.choices = {"f32", "bf16", "auto"}});
  f.add("recompute", recompute,
        "recompute activations in the backward pass (less memory, same bits)");
  f.add("freeze", freeze,
        "what does not train: the trunk (with the embedding and the output head), or the trunk and "
        "its first MTP head",
        {.choices = {"none", "trunk", "first_head"}});
  f.add("rope_theta", rope_theta, "RoPE base of the main phase, 0: the model's",
        {.min = 0, .max = 1e12});
  f.add("on_nan", on_nan, "what a NaN or Inf does to the run", {.choices = {"stop", "skip"}});
  f.add("max_skips", max_skips, "with on_nan = skip: steps skipped in a row that stop the run",
        {.min = 1, .max = 1e9});
  f.add("phases", phases, "phases after the main one, in turn (configs/phases.toml)");
}

void LogOptions::fields(Fields& f) {
  f.add("eval_every", eval_every, "updates between validations, 0 for none",
        {.min = 0, .max = 1e9});
  f.add("eval_batches", eval_batches, "batches of a validation, 0 for all", {.min = 0, .max = 1e9});
  f.add("sample_every", sample_every, "updates between samples, 0 for none",
        {.min = 0, .max = 1e9});
  f.add("sample_tokens", sample_tokens, "length of a sample",
        {.unit = "tokens", .min = 1, .max = 4096});
  f.add("sample_prompts", sample_prompts, "beginnings of the samples");
  f.add("checkpoint_every", checkpoint_every, "updates between checkpoints, 0: only at the end",
        {.min = 0, .max = 1e9});
  f.add("keep", keep, "checkpoints kept", {.min = 1, .max = 1000});
  f.add("report_seconds", report_seconds, "time between updates of report.html",
        {.unit = "s", .min = 1, .max = 1e6});
  f.add("rms_every", rms_every, "updates between measurements of activations, 0 for none",
        {.min = 0, .max = 1e9});
  f.add("tensorboard", tensorboard, "write TensorBoard event files");
}

void RunOptions::fields(Fields& f) {
  f.group("model", model);
  if (chat)
    f.group("data", *chat);
  else if (grpo)
    f.group("grpo", *grpo);
  else
    f.group("data", data);
  f.group("train", train);
  f.group("log", log);
}

}  // namespace um
