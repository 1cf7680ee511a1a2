// See corpus_util.h.
#include "tests/train/corpus_util.h"

#include <fmt/format.h>
#include <unistd.h>

#include "core/files.h"
#include "core/rng.h"
#include "data/pack.h"
#include "text/train.h"

namespace um::testing {

namespace fs = std::filesystem;

TemporaryDirectory::TemporaryDirectory(const std::string& name)
    : path_(fs::temp_directory_path() / fmt::format("um_{}_{}", name, ::getpid())) {
  fs::remove_all(path_);
  fs::create_directories(path_);
}

TemporaryDirectory::~TemporaryDirectory() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

fs::path make_corpus(const fs::path& directory, uint64_t lines) {
  constexpr const char* kSubjects[] = {"the old fox", "a small bird", "my neighbour", "the river"};
  constexpr const char* kVerbs[] = {"watches", "follows", "forgets", "remembers", "paints"};
  constexpr const char* kObjects[] = {"the moon", "a red house", "seven stones", "the slow road"};
  const RandomStream random(5, 5);
  std::string text;
  for (uint64_t i = 0; i < lines; ++i)
    text += fmt::format("{} {} {}.\n", kSubjects[random.bits(3 * i) % 4],
                        kVerbs[random.bits(3 * i + 1) % 5], kObjects[random.bits(3 * i + 2) % 4]);
  const fs::path file = directory / "corpus.txt";
  write_file_atomic(file, text);
  ReadOptions read;
  read.document = DocumentRule::kLine;
  const Tokenizer tokenizer = train_tokenizer({.vocab_size = 320}, corpus_source({file}, read));
  PackOptions options;
  options.inputs = {file};
  options.out_dir = directory / "data";
  options.read = read;
  options.val_fraction = 0.05;
  pack_corpus(tokenizer, options);
  return options.out_dir;
}

RunOptions small_run(const fs::path& data, int64_t steps) {
  RunOptions options;
  options.model.preset = "nano-ultra";
  options.model.set = {"vocab_size=320"};
  options.data.path = {data.string()};
  options.train.steps = steps;
  options.train.batch = 4;
  options.train.seq_len = 32;
  options.train.warmup = 5;
  options.log.eval_every = 0;
  options.log.sample_every = 0;
  options.log.checkpoint_every = 0;
  options.log.report_seconds = 1e6;
  return options;
}

}  // namespace um::testing
