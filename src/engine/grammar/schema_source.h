// SchemaSource: a schema's text as a tree of nodes: which of them are resources of their own ($id),
// which draft each is written in, and where references lead. Only inside the text: nothing is
// fetched.
#pragma once

#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace um {

/// Names of an ordered object, or ids, that are looked at in one step of check_stop().
inline constexpr size_t kNamesPerStep = 64;

using SchemaNode = nlohmann::ordered_json;  // keeps the order of properties

/// Throws UsageError `schema PATH: WHAT`.
[[noreturn]] void refuse_schema(const std::string& path, std::string_view what);

struct SchemaResource {
  std::string base;  ///< its URI without fragment
  const SchemaNode* root = nullptr;
  int draft = 0;  ///< 4, 6, 7, 2019, 2020; 0: the schema does not say
};

/// A schema in the text.
struct SchemaPlace {
  const SchemaNode* node = nullptr;
  const SchemaResource* resource = nullptr;
  std::string path = {};  ///< for errors
};

class SchemaSource {
 public:
  /// `name` stands before the paths of errors.
  SchemaSource(std::string_view text, const std::string& name);

  const SchemaPlace& root() const { return root_; }
  template <class Use>
  void list_resources(const Use& use) const {
    for (const auto& one : resources_) use(one.get());
  }
  /// A schema inside that of `parent`, at `path` from there.
  SchemaPlace child(const SchemaPlace& parent, const SchemaNode& node,
                    const std::string& path) const;
  /// Where the URI reference in `from` leads.
  SchemaPlace resolve(const SchemaPlace& from, const std::string& reference) const;
  /// How many schemas have that $dynamicAnchor; "": $recursiveAnchor.
  int dynamic_anchors(const std::string& name) const;
  /// Whether "unevaluated..." stands anywhere in the text.
  bool has_unevaluated() const { return has_unevaluated_; }

 private:
  void index(const SchemaNode& node, const SchemaResource* resource);
  void index_children(const SchemaNode& node, const SchemaResource* resource);
  const SchemaResource* begin_resource(const SchemaNode& node, const SchemaResource* outer);
  void add_anchor(const SchemaNode& node, const SchemaResource* resource, const std::string& name);
  SchemaPlace follow(const SchemaPlace& from, const SchemaPlace& root,
                     std::string_view pointer) const;

  SchemaNode tree_;
  SchemaPlace root_;
  bool has_unevaluated_ = false;
  std::map<std::string, int> dynamic_;
  std::vector<std::unique_ptr<SchemaResource>> resources_;
  std::unordered_map<const SchemaNode*, SchemaResource*> resource_at_;  // where they begin
  std::map<std::string, SchemaPlace> by_uri_;                           // resources and anchors
};

}  // namespace um
