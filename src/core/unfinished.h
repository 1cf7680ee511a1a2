// Output that must not stay behind half written: it is removed when its writer gives up (by an
// exception) and when SIGINT, SIGTERM or SIGHUP ends the process. What SIGKILL leaves is removed by
// the next writer of the same file (AtomicFile), and by OutputDirectory::clean().
#pragma once

#include <filesystem>
#include <vector>

namespace um {

/// A file or an empty directory of this process that a signal is to remove, until it is kept.
void add_unfinished(const std::filesystem::path& path);
void keep_unfinished(const std::filesystem::path& path);

/// A directory that a command fills. Without `keep()` the directory and its parents go, as far as
/// they were made here and are empty, and so do the files in it that were new (AtomicFile reports
/// them); a file that replaced another stays.
class OutputDirectory {
 public:
  /// Creates the directory and its parents. Throws Error naming it and the system's reason.
  explicit OutputDirectory(std::filesystem::path directory);
  OutputDirectory(const OutputDirectory&) = delete;
  OutputDirectory& operator=(const OutputDirectory&) = delete;
  ~OutputDirectory();

  /// Removes what killed writers left in it; for when nothing can refuse the command any more.
  void clean() const;
  void keep();
  const std::filesystem::path& path() const { return directory_; }

  /// Tells the thread's output directories of a new file.
  static void report_new_file(const std::filesystem::path& file);

 private:
  void note_made(const std::filesystem::path& path);
  void remove_made();

  std::filesystem::path directory_;
  std::vector<std::filesystem::path> made_;  ///< in this order
  OutputDirectory* outer_;
};

/// Makes SIGINT, SIGTERM and SIGHUP remove unfinished output before they end the process. A signal
/// that the process was started to ignore (nohup) stays ignored. SIGBUS, which comes when a mapped
/// file has shrunk, ends it with a line that says so, and exit code 1.
void remove_unfinished_on_signals();

}  // namespace um
