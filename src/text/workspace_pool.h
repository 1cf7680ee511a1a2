// Workspaces that calls borrow: as many as calls ran at once, each used by one at a time. What they
// keep (caches, buffers) outlives the call.
#pragma once

#include <memory>
#include <mutex>
#include <vector>

namespace um {

/// A thread-safe stack of idle `T`s. `T` has a default constructor.
template <class T>
class WorkspacePool {
 public:
  /// One workspace; it returns to the pool when the loan ends.
  class Loan {
   public:
    explicit Loan(WorkspacePool& pool) : pool_(pool), item_(pool.take()) {}
    Loan(const Loan&) = delete;
    Loan& operator=(const Loan&) = delete;
    ~Loan() { pool_.put(std::move(item_)); }
    T& operator*() { return *item_; }
    T* operator->() { return item_.get(); }

   private:
    WorkspacePool& pool_;
    std::unique_ptr<T> item_;
  };

  Loan borrow() { return Loan(*this); }

 private:
  std::unique_ptr<T> take() {
    const std::lock_guard lock(mutex_);
    if (idle_.empty()) return std::make_unique<T>();
    std::unique_ptr<T> item = std::move(idle_.back());
    idle_.pop_back();
    return item;
  }
  void put(std::unique_ptr<T> item) {
    const std::lock_guard lock(mutex_);
    idle_.push_back(std::move(item));
  }
  std::mutex mutex_;
  std::vector<std::unique_ptr<T>> idle_;
};

}  // namespace um
