// See unfinished.h. The handler walks a list that other code changes: a spin lock guards it, and
// whoever holds it has these signals blocked, so the handler never waits for its own thread.
#include "core/unfinished.h"

#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <string>
#include <string_view>

#include "core/files.h"
#include "core/paths.h"

namespace um {
namespace {

namespace fs = std::filesystem;

constexpr int kSignals[] = {SIGINT, SIGTERM, SIGHUP};

std::atomic_flag list_locked = ATOMIC_FLAG_INIT;
std::vector<std::string>& list() {
  static auto* paths = new std::vector<std::string>;  // outlives all that could signal
  return *paths;
}

/// Holds the list; the signals wait.
class ListLock {
 public:
  ListLock() {
    sigset_t blocked;
    sigemptyset(&blocked);
    for (const int signal : kSignals) sigaddset(&blocked, signal);
    ::pthread_sigmask(SIG_BLOCK, &blocked, &before_);
    while (list_locked.test_and_set(std::memory_order_acquire)) {
    }
  }
  ListLock(const ListLock&) = delete;
  ListLock& operator=(const ListLock&) = delete;
  ~ListLock() {
    list_locked.clear(std::memory_order_release);
    ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }

 private:
  sigset_t before_;
};

void remove_path(const char* path) {
  if (::unlink(path) != 0) ::rmdir(path);
}

/// Only calls that are allowed in a handler.
void remove_all() {
  while (list_locked.test_and_set(std::memory_order_acquire)) {
  }
  for (auto path = list().rbegin(); path != list().rend(); ++path) remove_path(path->c_str());
}

void remove_all_and_die(int signal) {
  remove_all();
  ::signal(signal, SIG_DFL);
  ::raise(signal);  // comes when this handler returns
  list_locked.clear(std::memory_order_release);
}

/// A page of a mapped file that cannot be read. Only the first thread says so: the list stays
/// locked, and the others wait for the end.
void say_and_die(int) {
  remove_all();
  static constexpr std::string_view kText =
      "ultramoe: a file (of a model, or of packed data) shrank while it was read, or its disk "
      "failed; start again, and replace files in use by new ones instead of writing into them\n";
  [[maybe_unused]] const ssize_t put = ::write(STDERR_FILENO, kText.data(), kText.size());
  ::_exit(1);
}

thread_local OutputDirectory* innermost = nullptr;

}  // namespace

void add_unfinished(const fs::path& path) {
  const std::string name = fs::absolute(path).string();
  const ListLock lock;
  list().push_back(name);
}

void keep_unfinished(const fs::path& path) {
  const std::string name = fs::absolute(path).string();
  const ListLock lock;
  std::erase(list(), name);
}

OutputDirectory::OutputDirectory(fs::path directory)
    : directory_(fs::absolute(directory).lexically_normal()), outer_(innermost) {
  if (!directory_.has_filename()) directory_ = directory_.parent_path();  // "run/"
  std::vector<fs::path> missing;
  std::error_code ignored;
  for (fs::path at = directory_; !at.empty() && !fs::exists(at, ignored); at = at.parent_path()) {
    missing.push_back(at);
    if (at == at.parent_path()) break;
  }
  for (auto path = missing.rbegin(); path != missing.rend(); ++path) note_made(*path);
  try {
    make_directories(directory);
  } catch (...) {
    remove_made();
    throw;
  }
  innermost = this;
}

OutputDirectory::~OutputDirectory() {
  remove_made();
  innermost = outer_;
}

void OutputDirectory::clean() const {
  remove_leftovers(directory_);
}

void OutputDirectory::keep() {
  for (const fs::path& path : made_) keep_unfinished(path);
  made_.clear();
}

void OutputDirectory::note_made(const fs::path& path) {
  add_unfinished(path);
  made_.push_back(path);
}

void OutputDirectory::remove_made() {
  for (auto path = made_.rbegin(); path != made_.rend(); ++path) remove_path(path->c_str());
  keep();
}

void OutputDirectory::report_new_file(const fs::path& file) {
  for (OutputDirectory* at = innermost; at != nullptr; at = at->outer_)
    if (fs::absolute(file).lexically_normal().parent_path() == at->directory_)
      return at->note_made(fs::absolute(file));
}

void remove_unfinished_on_signals() {
  for (const int signal : kSignals) {
    struct sigaction action {};
    if (::sigaction(signal, nullptr, &action) != 0 || action.sa_handler == SIG_IGN) continue;
    action.sa_handler = remove_all_and_die;
    action.sa_flags = 0;
    sigemptyset(&action.sa_mask);
    for (const int other : kSignals) sigaddset(&action.sa_mask, other);
    ::sigaction(signal, &action, nullptr);
  }
  ::signal(SIGBUS, say_and_die);
}

}  // namespace um
