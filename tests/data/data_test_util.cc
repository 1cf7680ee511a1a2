// See data_test_util.h.
#include "tests/data/data_test_util.h"

#include <unistd.h>
#include <zlib.h>

#include <set>

#include "core/files.h"
#include "tests/text/tiny_tokenizer_util.h"

namespace um {

namespace fs = std::filesystem;

void ScratchTest::SetUp() {
  const auto* info = ::testing::UnitTest::GetInstance()->current_test_info();
  dir_ = fs::temp_directory_path() /
         fmt::format("um_{}_{}_{}", info->test_suite_name(), info->name(), ::getpid());
  fs::create_directories(dir_);
}

fs::path ScratchTest::write(const std::string& name, const std::string& text) const {
  fs::create_directories((dir_ / name).parent_path());
  write_file_atomic(dir_ / name, text);
  return dir_ / name;
}

fs::path ScratchTest::write_gz(const std::string& name, const std::string& text) const {
  const fs::path path = dir_ / name;
  const gzFile file = gzopen(path.c_str(), "wb");
  gzwrite(file, text.data(), static_cast<unsigned>(text.size()));
  gzclose(file);
  return path;
}

fs::path ScratchTest::pack(const std::string& name, size_t count, size_t skip) const {
  std::string text;
  const auto sentences = tiny_corpus(count + skip);
  for (size_t i = skip; i < sentences.size(); ++i) text += sentences[i] + "\n";
  PackOptions options;
  options.inputs = {write(name + ".txt", text)};
  options.out_dir = dir_ / name;
  options.read.document = DocumentRule::kLine;
  options.shard_tokens = 1000;
  options.val_fraction = 0.1;
  pack_corpus(tiny_tokenizer(), options);
  return options.out_dir;
}

std::string ScratchTest::contents(const fs::path& directory) {
  std::set<fs::path> paths;
  for (const auto& entry : fs::directory_iterator(directory)) paths.insert(entry.path());
  std::string all;
  for (const fs::path& path : paths) all += path.filename().string() + "\n" + read_file(path);
  return all;
}

}  // namespace um
