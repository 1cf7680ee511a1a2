// The calls of a conversation and their results, which belong together by their ids.
#pragma once

#include <map>
#include <set>
#include <string>
#include <utility>

namespace um {

class OpenCalls {
 public:
  /// A call that stands at `where`; false if one of this id is open already.
  bool add(const std::string& id, const std::string& where) {
    had_.insert(id);
    return open_.emplace(id, where).second;
  }
  /// Its result; false if no call of this id is open.
  bool close(const std::string& id) { return open_.erase(id) > 0; }
  /// Whether there was a call of this id, open or not.
  bool had(const std::string& id) const { return had_.contains(id); }
  /// Id and place of one that has no result; null if there is none.
  const std::pair<const std::string, std::string>* unanswered() const {
    return open_.empty() ? nullptr : &*open_.begin();
  }

 private:
  std::map<std::string, std::string> open_;  // ids, and where they are
  std::set<std::string> had_;
};

}  // namespace um
