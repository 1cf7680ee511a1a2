// See scheduler.h.
#include "engine/scheduler.h"

#include <algorithm>

namespace um {
namespace {

/// How many waiting requests a step looks at: those in front may wait for a prefix.
constexpr size_t kAdmissionTries = 8;

bool before(const std::unique_ptr<ActiveRequest>& a, const std::unique_ptr<ActiveRequest>& b) {
  if (a->request.priority != b->request.priority) return a->request.priority > b->request.priority;
  return a->id < b->id;
}

void insert_sorted(std::vector<std::unique_ptr<ActiveRequest>>& list,
                   std::unique_ptr<ActiveRequest> request) {
  list.insert(std::upper_bound(list.begin(), list.end(), request, before), std::move(request));
}

/// The rows a forward may take from the cache: the last row must run, it gives the next token.
std::span<const int32_t> reusable(const ActiveRequest& request) {
  const int64_t rows = std::min(request.prompt_rows, request.length() - 1);
  return std::span(request.tokens).first(static_cast<size_t>(rows));
}

}  // namespace

Scheduler::Scheduler(const EngineOptions& options, int64_t pages, int64_t page_rows, int64_t limit,
                     CopyRows copy_rows)
    : options_(options),
      limit_(limit),
      copy_rows_(std::move(copy_rows)),
      pages_(pages, page_rows, options.prefix_cache, copy_rows_ != nullptr) {}

void Scheduler::enqueue(std::unique_ptr<ActiveRequest> request) {
  insert_sorted(waiting_, std::move(request));
}

int64_t Scheduler::pages_for(int64_t rows) const {
  return (rows + pages_.page_rows() - 1) / pages_.page_rows();
}

/// Pages that admitted requests will still take for the tokens they have.
int64_t Scheduler::outstanding() const {
  int64_t pages = 0;
  for (const auto& request : running_)
    pages += std::max<int64_t>(0, pages_for(request->length() + 1) - std::ssize(request->pages));
  return pages;
}

/// A request that computes more of the same beginning is running: its rows are worth the wait.
bool Scheduler::waits_for_prefix(const ActiveRequest& request, int64_t matched) const {
  if (!options_.prefix_cache || request.needs_every_row()) return false;
  const auto wanted = reusable(request);
  for (const auto& other : running_) {
    if (!other->in_prompt()) continue;
    const auto theirs = std::span(other->tokens).first(static_cast<size_t>(other->prompt_rows));
    const size_t n = std::min(wanted.size(), theirs.size());
    const auto end = wanted.begin() + static_cast<std::ptrdiff_t>(n);
    const int64_t common =
        std::mismatch(wanted.begin(), end, theirs.begin()).first - wanted.begin();
    if (common / pages_.page_rows() * pages_.page_rows() > matched) return true;
  }
  return false;
}

bool Scheduler::try_admit(ActiveRequest& request) {
  PrefixMatch match = request.needs_every_row() ? PrefixMatch() : pages_.match(reusable(request));
  const auto give_back = [&] {
    pages_.release(match.pages);
    if (match.copy_page >= 0) pages_.release(std::span(&match.copy_page, 1));
  };
  const int64_t whole = std::ssize(match.pages) * pages_.page_rows();
  const int64_t needed = pages_for(request.length() + 1) - std::ssize(match.pages);
  if (waits_for_prefix(request, whole) ||
      (!running_.empty() && needed + outstanding() > pages_.available())) {
    give_back();
    return false;
  }
  request.pages = std::move(match.pages);
  request.pages.reserve(static_cast<size_t>(pages_for(request.most_tokens(limit_) + 1)));
  request.cached = whole;
  if (match.copy_page >= 0) {
    const int32_t copy = pages_.allocate();
    if (copy >= 0) {
      copy_rows_(match.copy_page, copy, match.copy_rows);
      request.pages.push_back(copy);
      request.cached += match.copy_rows;
    }
    pages_.release(std::span(&match.copy_page, 1));
  }
  if (request.generated() == 0) request.stats.cached_tokens = request.cached;
  return true;
}

void Scheduler::admit() {
  size_t tries = kAdmissionTries;
  for (size_t i = 0; i < waiting_.size() && running() < options_.max_batch && tries > 0; --tries) {
    if (!try_admit(*waiting_[i])) {
      ++i;
      continue;
    }
    std::unique_ptr<ActiveRequest> request = std::move(waiting_[i]);
    waiting_.erase(waiting_.begin() + static_cast<std::ptrdiff_t>(i));
    if (request->stats.preemptions == 0) {
      request->admitted = Clock::now();
      prompt_tokens_ += request->prompt_rows;
      cached_prompt_tokens_ += request->cached;
    }
    insert_sorted(running_, std::move(request));
  }
}

/// Back to the waiting ones, with nothing in the cache; its tokens stay.
void Scheduler::preempt(size_t index) {
  std::unique_ptr<ActiveRequest> request = std::move(running_[index]);
  running_.erase(running_.begin() + static_cast<std::ptrdiff_t>(index));
  pages_.release(request->pages);
  request->pages.clear();
  request->drafts.clear();
  request->cached = request->draft_cached = 0;
  ++request->stats.preemptions;
  ++preemptions_;
  insert_sorted(waiting_, std::move(request));
}

void Scheduler::forget_rows() {
  while (!running_.empty()) preempt(running_.size() - 1);
  pages_.forget();
}

/// Pages for the first `rows` rows of a request. Preempting takes the last of the running ones,
/// which the plan has not come to yet; false if that is the request itself.
bool Scheduler::reserve(ActiveRequest& request, int64_t rows, bool may_preempt) {
  while (std::ssize(request.pages) < pages_for(rows)) {
    const int32_t page = pages_.allocate();
    if (page >= 0) {
      request.pages.push_back(page);
      continue;
    }
    if (!may_preempt || running_.back().get() == &request) return false;
    preempt(running_.size() - 1);
  }
  return true;
}

PlannedRows Scheduler::plan_one(ActiveRequest& request, int64_t& prompt_budget) {
  if (request.decoding()) {
    const int64_t known = request.length();
    if (!reserve(request, known, true)) return {};
    const int64_t room =
        std::min(limit_ - known, request.request.max_tokens - request.generated()) - 1;
    const auto drafts = static_cast<size_t>(std::max<int64_t>(room, 0));
    if (request.drafts.size() > drafts) request.drafts.resize(drafts);
    if (!reserve(request, known + std::ssize(request.drafts), false)) request.drafts.clear();
    return {&request, request.cached, 1 + std::ssize(request.drafts), false, true};
  }
  // A prompt, or the generated tokens of a request that was preempted.
  const bool prompt = request.in_prompt();
  const int64_t end = prompt ? request.prompt_rows : request.length();
  const int64_t rows = std::min(end - request.cached, prompt_budget);
  if (rows <= 0 || !reserve(request, request.cached + rows, true)) return {};
  prompt_budget -= rows;
  const bool samples = request.cached + rows == request.length() && !request.request.reader;
  return {&request, request.cached, rows, prompt, samples};
}

const std::vector<PlannedRows>& Scheduler::plan(int64_t prompt_budget) {
  admit();
  plan_.clear();
  for (size_t i = 0; i < running_.size(); ++i) {
    ActiveRequest* request = running_[i].get();
    if (request->done) continue;
    const PlannedRows rows = plan_one(*request, prompt_budget);
    if (rows.request != nullptr)
      plan_.push_back(rows);
    else if (i < running_.size() && running_[i].get() == request && request->decoding())
      preempt(i--);  // the last one, and there is no page for it
  }
  // The sort takes memory, so not where there is nothing to sort.
  const auto is_prompt = [](const PlannedRows& rows) { return rows.prompt; };
  if (std::ranges::any_of(plan_, is_prompt))
    std::stable_partition(plan_.begin(), plan_.end(), is_prompt);
  return plan_;
}

void Scheduler::ran(const PlannedRows& rows) {
  ActiveRequest& request = *rows.request;
  if (!rows.prompt) return;
  const auto known = std::span(request.tokens).first(static_cast<size_t>(request.cached));
  pages_.keep(known, request.pages, false);
}

std::vector<std::unique_ptr<ActiveRequest>> Scheduler::take_done() {
  Requests done;
  for (Requests* list : {&running_, &waiting_}) {
    const auto first = std::stable_partition(list->begin(), list->end(),
                                             [](const auto& request) { return !request->done; });
    std::move(first, list->end(), std::back_inserter(done));
    list->erase(first, list->end());
  }
  for (const auto& request : done) {
    const int64_t rows = std::min(request->cached, request->prompt_rows);
    pages_.keep(std::span(request->tokens).first(static_cast<size_t>(rows)), request->pages, true);
    pages_.release(request->pages);
    request->pages.clear();
  }
  return done;
}

void Scheduler::for_each(const std::function<void(ActiveRequest&)>& use) {
  for (Requests* list : {&running_, &waiting_})
    for (const auto& request : *list) use(*request);
}

int64_t Scheduler::decoding() const {
  return std::ranges::count_if(running_, [](const auto& request) { return request->decoding(); });
}

bool Scheduler::any_decoding() const {
  return decoding() > 0;
}

}  // namespace um
