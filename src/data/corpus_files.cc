// See corpus_files.h.
#include "data/corpus_files.h"

#include <sys/stat.h>

#include <algorithm>
#include <cctype>
#include <utility>

#include "core/error.h"
#include "core/paths.h"

namespace um {
namespace {

namespace fs = std::filesystem;

using Paths = std::vector<fs::path>;

constexpr size_t kNamed = 5;          // paths that a warning names, of each kind
constexpr size_t kMaxLinks = 10'000;  // between a few directories they make paths without number

/// The ending of a file's name in small letters, without .gz or .zst behind it.
std::string ending_of(const fs::path& path) {
  const auto lower = [](std::string text) {
    for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    return text;
  };
  const std::string ending = lower(path.extension().string());
  if (ending == ".gz" || ending == ".zst") return lower(path.stem().extension().string());
  return ending;
}

bool is_corpus_file(const fs::path& path) {
  return ending_of(path) == ".txt" || is_jsonl(path);
}

/// Text with a form of its own, which a model learns along.
bool is_structured(const fs::path& path) {
  const std::string ending = ending_of(path);
  return ending == ".json" || ending == ".csv" || ending == ".tsv" || ending == ".xml" ||
         ending == ".html";
}

/// What is below a directory: files to read, and what is left out, for its kind, as hidden or as a
/// link that leads back up.
class Listing {
 public:
  explicit Listing(const fs::path& directory) : directory_(directory) {
    enter(directory);
    for (Paths* paths : {&files_, &other_, &hidden_, &loops_})
      std::sort(paths->begin(), paths->end());
  }

  const Paths& files() const { return files_; }

  /// One line about what is left out; empty if nothing is.
  std::string left_out() const {
    std::vector<std::string> kinds;
    const auto tell = [&](const Paths& paths, const char* one, const char* many) {
      if (!paths.empty()) kinds.push_back(describe(paths, one, many));
    };
    tell(other_, "a file that is neither .txt nor .jsonl",
         "files that are neither .txt nor .jsonl");
    tell(hidden_, "a hidden one", "hidden ones");
    tell(loops_, "a link that leads back up", "links that lead back up");
    if (kinds.empty()) return {};
    const char* help = other_.empty() && hidden_.empty() ? "" : " (what is named as input is read)";
    return fmt::format("{}: skipped {}{}", directory_.string(), fmt::join(kinds, "; "), help);
  }

 private:
  void enter(const fs::path& directory) {
    struct stat info {};
    UM_CHECK(::stat(directory.c_str(), &info) == 0, "{}: cannot look there", directory.string());
    const std::pair<dev_t, ino_t> self = {info.st_dev, info.st_ino};
    if (std::ranges::find(above_, self) != above_.end()) return loops_.push_back(directory);
    if (fs::is_symlink(directory)) ++links_;
    UM_CHECK(links_ <= kMaxLinks, "{}: more than {} links to directories below it, one of them {}",
             directory_.string(), kMaxLinks, directory.string());
    above_.push_back(self);
    for (const fs::path& path : list_directory(directory)) add(path);
    above_.pop_back();
  }

  void add(const fs::path& path) {
    std::error_code ignored;  // what cannot be read is an error later, if it is to be read
    if (path.filename().string().starts_with('.'))
      hidden_.push_back(path);
    else if (fs::is_directory(path, ignored))
      enter(path);
    else
      (is_corpus_file(path) ? files_ : other_).push_back(path);
  }

  std::string describe(const Paths& paths, const char* one, const char* many) const {
    std::string names;
    for (size_t i = 0; i < std::min(paths.size(), kNamed); ++i)
      names += (i > 0 ? ", " : "") + paths[i].lexically_relative(directory_).string();
    if (paths.size() > kNamed) names += fmt::format(" and {} more", paths.size() - kNamed);
    return paths.size() == 1 ? fmt::format("{}: {}", one, names)
                             : fmt::format("{} {}: {}", paths.size(), many, names);
  }

  fs::path directory_;
  std::vector<std::pair<dev_t, ino_t>> above_;  // the directories on the way to where it is
  size_t links_ = 0;                            // to directories, followed so far
  Paths files_, other_, hidden_, loops_;
};

}  // namespace

bool is_jsonl(const fs::path& path) {
  const std::string ending = ending_of(path);
  return ending == ".jsonl" || ending == ".ndjson";
}

Paths list_corpus(const Paths& inputs, const std::function<void(const std::string&)>& warn) {
  UM_CHECK(!inputs.empty(), "corpus: no input files");
  Paths files;
  for (const fs::path& input : inputs) {
    std::error_code error;
    const fs::file_status status = fs::status(input, error);
    UM_CHECK(fs::exists(status), "{}: no such file or directory", input.string());
    if (!fs::is_directory(status)) {
      if (warn && is_structured(input))
        warn(
            fmt::format("{}: read as plain text, markup and all; records belong into .jsonl, one "
                        "object a line",
                        input.string()));
      files.push_back(input);
      continue;
    }
    const Listing listing(input);
    const std::string left_out = listing.left_out();
    if (warn && !left_out.empty()) warn(left_out);
    UM_CHECK(!listing.files().empty(),
             "{}: no .txt, .jsonl or .ndjson files below it, plain or with .gz or .zst behind, "
             "that are not hidden",
             input.string());
    files.insert(files.end(), listing.files().begin(), listing.files().end());
  }
  return files;
}

}  // namespace um
