// `ultramoe data`: text files to packed token shards, the demo's corpus, and tasks (data_tasks.h).
#include <thread>

#include "cli/arguments.h"
#include "cli/commands.h"
#include "cli/data_tasks.h"
#include "cli/input.h"
#include "cli/output_directory.h"
#include "cli/terminal.h"
#include "core/error.h"
#include "data/pack.h"
#include "data/wordnet.h"

namespace um {
namespace {

namespace fs = std::filesystem;

struct PackFlags {
  std::vector<std::string> inputs;
  std::string tokenizer, out, document = "block";
  PackOptions pack;
  bool json = false;
};

std::string progress_line(const PackProgress& now, double seconds) {
  const auto read = static_cast<double>(now.bytes_read), all = static_cast<double>(now.bytes_total);
  return fmt::format("packing {} of {}, {}/s, {} tokens  {}", bytes_text(read), bytes_text(all),
                     bytes_text(seconds > 0 ? read / seconds : 0),
                     short_count(static_cast<double>(now.tokens)), eta_text(seconds, read, all));
}

nlohmann::ordered_json split_json(const SplitInfo& split) {
  return {{"documents", split.documents},
          {"tokens", split.tokens},
          {"text_bytes", split.text_bytes},
          {"unigram_entropy", split.unigram_entropy}};
}

void print_split(const char* name, const SplitInfo& split) {
  const auto tokens = static_cast<double>(split.tokens);
  fmt::print("  {:<6}{:>14} tokens in {} documents", name,
             digits(static_cast<int64_t>(split.tokens)),
             digits(static_cast<int64_t>(split.documents)));
  if (split.tokens > 0)
    fmt::print(", {:.2f} bytes per token, unigram entropy {:.3f} nats",
               static_cast<double>(split.text_bytes) / tokens, split.unigram_entropy);
  fmt::print("\n");
}

void pack(PackFlags& flags, const Globals& globals) {
  check_output_directory(flags.out, {Holding::corpus}, flags.tokenizer);
  const Tokenizer tokenizer = load_tokenizer(flags.tokenizer);
  PackOptions& options = flags.pack;
  options.inputs.assign(flags.inputs.begin(), flags.inputs.end());
  options.out_dir = flags.out;
  options.read.document = parse_document_rule(flags.document);
  options.threads = globals.thread_count();
  Progress line;
  options.read.warn = [&](const std::string& text) { line.warn(text); };
  options.progress = [&](const PackProgress& now) {
    if (line.due()) line.show(progress_line(now, line.seconds()));
  };
  const Manifest manifest = pack_corpus(tokenizer, options);
  line.clear();
  if (flags.json) {
    return print_json({{"out", flags.out},
                       {"vocab_size", manifest.vocab_size},
                       {"tokenizer_hash", manifest.tokenizer_hash},
                       {"train", split_json(manifest.train)},
                       {"val", split_json(manifest.val)},
                       {"seconds", line.seconds()}});
  }
  fmt::print("{}  packed in {}\n", bold(flags.out), duration_text(line.seconds()));
  print_split("train", manifest.train);
  print_split("val", manifest.val);
}

void add_pack(CLI::App& family, Globals& globals) {
  CLI::App* command =
      add_command(family, "pack", "tokenise text files into shards to train on", globals);
  auto flags = std::make_shared<PackFlags>();
  add_files_option(command, "--input", flags->inputs,
                   ".txt and .jsonl files, plain, .gz or .zst, and directories of them")
      ->required();
  command->add_option("--tokenizer", flags->tokenizer, "directory of the tokenizer")
      ->type_name("DIR")
      ->required();
  command->add_option("--out", flags->out, "directory to write; replaces a corpus there")
      ->type_name("DIR")
      ->required();
  command
      ->add_option(
          "--document", flags->document,
          "what a document of a .txt file is: a line, a paragraph, a block of running text "
          "or the file")
      ->type_name("RULE")
      ->capture_default_str();
  command
      ->add_option("--block-bytes", flags->pack.read.block_bytes,
                   "a block ends with the line that fills so many bytes; longer lines are cut")
      ->capture_default_str();
  command->add_option("--text-field", flags->pack.read.text_field, "field of .jsonl records")
      ->type_name("NAME")
      ->capture_default_str();
  command->add_flag("--force-text", flags->pack.read.force_text,
                    "read files that do not look like UTF-8 text all the same");
  command->add_option("--val-fraction", flags->pack.val_fraction, "share of documents held out")
      ->capture_default_str();
  command->add_option("--shard-tokens", flags->pack.shard_tokens, "tokens of one shard")
      ->capture_default_str();
  command->add_option("--seed", flags->pack.seed, "seed of the hold-out")->capture_default_str();
  add_json_flag(command, flags->json);
  run_with(command, globals, [flags, &globals] { pack(*flags, globals); });
}

void add_wordnet(CLI::App& family, Globals& globals) {
  CLI::App* command = add_command(
      family, "wordnet", "the demo's corpus: WordNet's definitions and examples as text", globals);
  struct Flags {
    std::string from = "/usr/share/wordnet", out;
  };
  auto flags = std::make_shared<Flags>();
  command->add_option("--out", flags->out, "text file to write")->type_name("FILE")->required();
  command->add_option("--from", flags->from, "directory of WordNet's data files")
      ->type_name("DIR")
      ->capture_default_str();
  run_with(command, globals, [flags] {
    UM_CHECK(fs::exists(fs::path(flags->from) / "data.noun"),
             "{}: no WordNet here (data.noun); install the package wordnet-base or name its "
             "directory with --from",
             flags->from);
    const WordnetCount count = extract_wordnet(flags->from, flags->out);
    fmt::print("{}  {} lines, {}\n", bold(flags->out), digits(static_cast<int64_t>(count.lines)),
               bytes_text(static_cast<double>(count.bytes)));
  });
}

}  // namespace

void add_data(CLI::App& app, Globals& globals) {
  CLI::App* family = add_family(app, "data", "prepare text for training");
  add_pack(*family, globals);
  add_wordnet(*family, globals);
  add_data_tasks(*family, globals);
}

}  // namespace um
