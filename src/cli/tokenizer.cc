// `ultramoe tokenizer`: train one, turn text into ids and ids into text.
#include <charconv>
#include <cstdio>

#include "cli/arguments.h"
#include "cli/commands.h"
#include "cli/input.h"
#include "cli/output_directory.h"
#include "cli/terminal.h"
#include "core/error.h"
#include "core/files.h"
#include "core/json.h"
#include "core/unfinished.h"
#include "data/pack.h"
#include "text/train.h"
#include "text/utf8.h"

namespace um {
namespace {

namespace fs = std::filesystem;

struct TrainFlags {
  std::vector<std::string> inputs;
  std::string out;
  ReadOptions read;
  TrainTokenizerOptions train;
  bool json = false;
};

void train(TrainFlags& flags, const Globals& globals) {
  flags.train.threads = globals.thread_count();
  const std::vector<fs::path> inputs(flags.inputs.begin(), flags.inputs.end());
  Progress line;
  uint64_t bytes = 0;
  bool told = false;
  const auto progress = [&](const PackProgress& now) {
    bytes = now.bytes_total;
    const std::string total = bytes_text(static_cast<double>(now.bytes_total));
    if (now.bytes_read < now.bytes_total)
      line.show(
          fmt::format("reading {} of {}", bytes_text(static_cast<double>(now.bytes_read)), total));
    else if (!std::exchange(told, true))
      line.announce(
          fmt::format("learning {} pieces from {}", digits(flags.train.vocab_size), total));
  };
  flags.read.warn = [&](const std::string& text) { line.warn(text); };
  check_output_directory(flags.out, {Holding::tokenizer});
  OutputDirectory output(flags.out);  // before the work, not after it
  output.clean();
  const Tokenizer tokenizer =
      train_tokenizer(flags.train, corpus_source(inputs, flags.read, progress));
  line.clear();
  if (tokenizer.vocab_size() < flags.train.vocab_size)
    line.warn(fmt::format("the text has no more than {} pieces, {} were asked for",
                          digits(tokenizer.vocab_size()), digits(flags.train.vocab_size)));
  tokenizer.save(flags.out);
  output.keep();
  if (flags.json)
    return print_json({{"out", flags.out},
                       {"vocab_size", tokenizer.vocab_size()},
                       {"hash", tokenizer.hash()},
                       {"seconds", line.seconds()}});
  fmt::print("{}  {} pieces ({}), hash {}, from {} in {}\n", bold(flags.out),
             digits(tokenizer.vocab_size()), flags.train.model_type, tokenizer.hash(),
             bytes_text(static_cast<double>(bytes)), duration_text(line.seconds()));
}

void add_train_tokenizer(CLI::App& family, Globals& globals) {
  CLI::App* command = add_command(family, "train", "learn a vocabulary from text", globals);
  auto flags = std::make_shared<TrainFlags>();
  add_files_option(command, "--input", flags->inputs,
                   ".txt and .jsonl files, plain, .gz or .zst, and directories of them")
      ->required();
  command->add_option("--out", flags->out, "directory to write; replaces a tokenizer there")
      ->type_name("DIR")
      ->required();
  command
      ->add_option("--vocab-size", flags->train.vocab_size,
                   "pieces, with the special tokens and 256 bytes")
      ->capture_default_str();
  command->add_option("--type", flags->train.model_type, "bpe or unigram")->capture_default_str();
  command
      ->add_option("--coverage", flags->train.character_coverage,
                   "share of the text's characters that get pieces; others become bytes")
      ->capture_default_str();
  command->add_option("--max-lines", flags->train.max_lines, "lines used, drawn evenly from all")
      ->capture_default_str();
  command->add_flag("--force-text", flags->read.force_text,
                    "read files that do not look like UTF-8 text all the same");
  command->add_option("--text-field", flags->read.text_field, "field of .jsonl records")
      ->type_name("NAME")
      ->capture_default_str();
  command->add_option("--seed", flags->train.seed, "seed of the draw")->capture_default_str();
  add_json_flag(command, flags->json);
  run_with(command, globals, [flags, &globals] { train(*flags, globals); });
}

struct EncodeFlags {
  std::string tokenizer, text, input;
  const CLI::Option* text_option = nullptr;  // which may be given and empty
  EncodeOptions encode;
  bool pieces = false, json = false;
};

void encode(const EncodeFlags& flags) {
  const Tokenizer tokenizer = load_tokenizer(flags.tokenizer);
  const bool given = flags.text_option->count() > 0 && flags.input.empty();
  const std::string text =
      given ? repair_utf8(flags.text) : read_input(flags.text, flags.input, "text to encode");
  const std::vector<int32_t> ids = tokenizer.encode(text, flags.encode);
  if (flags.json) {
    nlohmann::ordered_json json = {{"tokens", ids}};
    if (flags.pieces)
      for (const int32_t id : ids) json["pieces"].push_back(tokenizer.piece(id));
    return print_json(json);
  }
  if (!flags.pieces) return fmt::print("{}\n", fmt::join(ids, " "));
  for (const int32_t id : ids) fmt::print("{:>7}  {}\n", id, tokenizer.piece(id));
}

void add_encode(CLI::App& family, Globals& globals) {
  CLI::App* command = add_command(family, "encode",
                                  "text to ids (from --text, --input or standard input)", globals);
  auto flags = std::make_shared<EncodeFlags>();
  command->add_option("--tokenizer", flags->tokenizer, "directory of the tokenizer")
      ->type_name("DIR")
      ->required();
  flags->text_option = command->add_option("--text", flags->text, "the text");
  command->add_option("--input", flags->input, "file with the text, - for standard input")
      ->type_name("FILE");
  command->add_flag("--bos", flags->encode.add_bos, "begin with the begin-of-text token");
  command->add_flag("--eos", flags->encode.add_eos, "end with the end-of-text token");
  command->add_flag("--special", flags->encode.parse_special,
                    "special tokens written in the text count");
  command->add_flag("--pieces", flags->pieces, "show each id with its piece");
  add_json_flag(command, flags->json);
  run_with(command, globals, [flags] { encode(*flags); });
}

/// Ids apart by spaces, commas or brackets, so that JSON lists can be pasted.
std::vector<int32_t> parse_ids(std::string_view text) {
  std::vector<int32_t> ids;
  constexpr std::string_view kBetween = " \t\r\n,[]";
  for (;;) {
    text.remove_prefix(std::min(text.find_first_not_of(kBetween), text.size()));
    if (text.empty()) return ids;
    const std::string_view word = text.substr(0, text.find_first_of(kBetween));
    int32_t id = 0;
    const auto parsed = std::from_chars(word.data(), word.data() + word.size(), id);
    if (parsed.ec != std::errc() || parsed.ptr != word.data() + word.size())
      throw UsageError(fmt::format("token ids: expected a number, found {}", quote(word)));
    ids.push_back(id);
    text.remove_prefix(word.size());
  }
}

struct DecodeFlags {
  std::string tokenizer, input;
  std::vector<std::string> ids;
  bool special = false, json = false;
};

void decode(const DecodeFlags& flags) {
  const Tokenizer tokenizer = load_tokenizer(flags.tokenizer);
  const std::string ids = fmt::format("{}", fmt::join(flags.ids, " "));
  const std::vector<int32_t> tokens = parse_ids(read_input(ids, flags.input, "ids to decode"));
  for (const int32_t id : tokens)
    UM_CHECK(id >= 0 && id < tokenizer.vocab_size(), "id {}: the vocabulary has ids 0 to {}", id,
             tokenizer.vocab_size() - 1);
  const std::string text = tokenizer.decode(tokens, !flags.special);
  if (flags.json) return print_json({{"text", text}});
  fmt::print("{}\n", text);
}

void add_decode(CLI::App& family, Globals& globals) {
  CLI::App* command = add_command(
      family, "decode", "ids to text (as arguments, from --input or standard input)", globals);
  auto flags = std::make_shared<DecodeFlags>();
  command->add_option("--tokenizer", flags->tokenizer, "directory of the tokenizer")
      ->type_name("DIR")
      ->required();
  command->add_option("ids", flags->ids, "token ids")->type_name("ID...");
  command->add_option("--input", flags->input, "file with ids, - for standard input")
      ->type_name("FILE");
  command->add_flag("--special", flags->special, "show special tokens");
  add_json_flag(command, flags->json);
  run_with(command, globals, [flags] { decode(*flags); });
}

}  // namespace

void add_tokenizer(CLI::App& app, Globals& globals) {
  CLI::App* family = add_family(app, "tokenizer", "train and run tokenizers");
  add_train_tokenizer(*family, globals);
  add_encode(*family, globals);
  add_decode(*family, globals);
}

}  // namespace um
