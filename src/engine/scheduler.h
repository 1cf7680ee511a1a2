// Scheduler: which rows of which requests the next forward runs, and who has the cache's pages.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "engine/active_request.h"
#include "engine/page_cache.h"

namespace um {

/// Rows [begin, begin + rows) of a request, drafts included. Of the prompt, or behind it.
struct PlannedRows {
  ActiveRequest* request = nullptr;
  int64_t begin = 0, rows = 0;
  bool prompt = false;
  bool samples = false;  ///< the last known token is among them: the next one can be chosen
};

class Scheduler {
 public:
  /// Copies the first `rows` rows of a page in all layers of the pool. Empty: it cannot be done.
  using CopyRows = std::function<void(int32_t from, int32_t to, int64_t rows)>;

  /// `limit` tokens at most per request.
  Scheduler(const EngineOptions& options, int64_t pages, int64_t page_rows, int64_t limit,
            CopyRows copy_rows);

  void enqueue(std::unique_ptr<ActiveRequest> request);
  /// Admits what fits, reserves pages (evicting kept ones, then preempting the requests of least
  /// priority and latest arrival) and shares the rows out: every request that decodes gets its rows
  /// and drafts; prompts share `prompt_budget` rows, the first ones first. Prompt rows stand
  /// first in the plan. Empty if there is nothing to run.
  const std::vector<PlannedRows>& plan(int64_t prompt_budget);
  /// After the forward: prompt rows that are complete are kept for other prompts.
  void ran(const PlannedRows& rows);
  /// Nothing that the cache holds is right any more: all running requests are set back to the
  /// waiting ones with the tokens they have, and no rows are kept.
  void forget_rows();
  /// Takes out all requests that are done, gives their pages back and returns them.
  std::vector<std::unique_ptr<ActiveRequest>> take_done();

  /// Calls `use` for every request, waiting or running.
  void for_each(const std::function<void(ActiveRequest&)>& use);
  bool any_decoding() const;
  int64_t decoding() const;  ///< requests that decode
  int64_t running() const { return std::ssize(running_); }
  int64_t waiting() const { return std::ssize(waiting_); }
  int64_t preemptions() const { return preemptions_; }
  /// Of the requests that were begun: their prompts' tokens, and those that were in the cache.
  int64_t prompt_tokens() const { return prompt_tokens_; }
  int64_t cached_prompt_tokens() const { return cached_prompt_tokens_; }
  int64_t limit() const { return limit_; }
  const PageCache& pages() const { return pages_; }

 private:
  using Requests = std::vector<std::unique_ptr<ActiveRequest>>;

  void admit();
  bool try_admit(ActiveRequest& request);
  bool waits_for_prefix(const ActiveRequest& request, int64_t matched) const;
  int64_t pages_for(int64_t rows) const;
  int64_t outstanding() const;
  bool reserve(ActiveRequest& request, int64_t rows, bool may_preempt);
  void preempt(size_t index);
  PlannedRows plan_one(ActiveRequest& request, int64_t& prompt_budget);

  const EngineOptions options_;
  const int64_t limit_;
  const CopyRows copy_rows_;
  PageCache pages_;
  Requests waiting_, running_;  // by priority, then arrival
  std::vector<PlannedRows> plan_;
  int64_t preemptions_ = 0;
  int64_t prompt_tokens_ = 0, cached_prompt_tokens_ = 0;
};

}  // namespace um
