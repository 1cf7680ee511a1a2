// See schema_source.h.
#include "engine/grammar/schema_source.h"

#include <algorithm>
#include <cmath>
#include <initializer_list>

#include "core/error.h"
#include "core/json.h"
#include "core/ordered_json.h"
#include "core/stop_scope.h"

namespace um {
namespace {

using Node = SchemaNode;

constexpr size_t kMaxSchema = size_t{1} << 20;

bool is_one_of(std::string_view word, std::initializer_list<std::string_view> list) {
  return std::find(list.begin(), list.end(), word) != list.end();
}

Node parse_tree(std::string_view text) {
  if (text.size() > kMaxSchema)
    throw UsageError(
        fmt::format("schema: {} bytes, at most {} are allowed", text.size(), kMaxSchema));
  count_memory(32 * text.size());
  try {
    return parse_ordered_json(text, "schema", {.max_depth = 128, .max_values = 200'000});
  } catch (const UsageError&) {
    throw;
  } catch (const Error& error) {
    throw UsageError(error.what());
  }
}

std::string unescape(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size() &&
        std::isxdigit(static_cast<uint8_t>(text[i + 1])) != 0 &&
        std::isxdigit(static_cast<uint8_t>(text[i + 2])) != 0) {
      out += static_cast<char>(std::stoi(std::string(text.substr(i + 1, 2)), nullptr, 16));
      i += 2;
    } else {
      out += text[i];
    }
  }
  return out;
}

/// A token of a JSON pointer (RFC 6901).
std::string pointer_token(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool tilde = text[i] == '~' && i + 1 < text.size();
    if (tilde && (text[i + 1] == '0' || text[i + 1] == '1'))
      out += text[++i] == '0' ? '~' : '/';
    else
      out += text[i];
  }
  return out;
}

/// Where the path of a URI begins, behind scheme and authority.
size_t path_of(std::string_view uri) {
  const size_t colon = uri.find(':');
  if (colon == std::string_view::npos || colon > uri.find('/')) return 0;
  if (uri.substr(colon + 1, 2) != "//") return colon + 1;
  return std::min(uri.find('/', colon + 3), uri.size());
}

/// RFC 3986, 5.2, without the fragment.
std::string resolve_uri(const std::string& base, std::string_view reference) {
  reference = reference.substr(0, reference.find('#'));
  if (reference.empty()) return base;
  if (path_of(reference) > 0) return std::string(reference);
  const size_t path = path_of(base);
  std::string out = base.substr(0, path);
  if (reference[0] != '/') {
    const size_t slash = base.rfind('/');
    if (slash != std::string::npos && slash >= path)
      out = base.substr(0, slash + 1);
    else if (path > 0 && base.substr(0, path).find("//") != std::string::npos)
      out += '/';
  }
  std::vector<std::string> parts;
  for (std::string_view rest = reference; !rest.empty();) {
    const size_t end = std::min(rest.find('/'), rest.size() - 1);
    const std::string part(rest.substr(0, end + 1));
    rest.remove_prefix(end + 1);
    if (part == "./" || part == ".") continue;
    if (part == "../" || part == "..") {
      const size_t last = out.size() > path + 1 ? out.rfind('/', out.size() - 2) : path;
      if (last != std::string::npos && last >= path) out.erase(last + 1);
      continue;
    }
    out += part;
  }
  return out;
}

int draft_of(const std::string& uri) {
  for (const auto& [name, draft] : {std::pair("draft-04", 4),
                                    {"draft-06", 6},
                                    {"draft-07", 7},
                                    {"2019-09", 2019},
                                    {"2020-12", 2020}})
    if (uri.find(std::string("json-schema.org/") + (draft > 7 ? "draft/" : "") + name) !=
        std::string::npos)
      return draft;
  return 0;
}

const Node* string_at(const Node& node, const char* keyword) {
  const auto at = node.find(keyword);
  return at != node.end() && at->is_string() ? &*at : nullptr;
}

/// Writes 1.0 as 1 where draft 4 speaks: they are one number there, but only the second one is an
/// integer, so a listed 1.0 has to be written so.
void write_integers(Node& node, bool draft_4) {
  check_stop();
  if (const Node* uri = node.is_object() ? string_at(node, "$schema") : nullptr)
    draft_4 = draft_of(uri->get<std::string>()) == 4;
  if (node.is_structured()) {
    for (Node& part : node) write_integers(part, draft_4);
  } else if (draft_4 && node.is_number_float()) {
    constexpr double kLimit = 0x1p63;
    const double value = node.get<double>();
    const bool fits = std::abs(value) < kLimit && std::floor(value) == value;
    if (fits) node = static_cast<int64_t>(value);
  }
}

}  // namespace

void refuse_schema(const std::string& path, std::string_view what) {
  throw UsageError(fmt::format("schema {}: {}", path, what));
}

SchemaSource::SchemaSource(std::string_view text, const std::string& name)
    : tree_(parse_tree(text)) {
  write_integers(tree_, false);
  has_unevaluated_ = text.find("\"unevaluated") != std::string_view::npos;
  resources_.push_back(
      std::make_unique<SchemaResource>(SchemaResource{.base = {}, .root = &tree_}));
  root_ = {&tree_, resources_[0].get(), name + "#"};
  resource_at_[&tree_] = resources_[0].get();
  by_uri_[""] = root_;
  if (tree_.is_object()) index(tree_, resources_[0].get());
  root_.resource = resource_at_[&tree_];
}

const SchemaResource* SchemaSource::begin_resource(const Node& node, const SchemaResource* outer) {
  int draft = outer->draft;
  if (const Node* uri = string_at(node, "$schema")) {
    draft = draft_of(uri->get<std::string>());
    if (uri->get<std::string>().find("json-schema.org/draft-03") != std::string::npos)
      refuse_schema(root_.path, "draft-03 is not supported; expected draft-04 or later");
  }
  if (&node == &tree_) resource_at_[&node]->draft = draft;
  const Node* id = string_at(node, draft == 4 ? "id" : "$id");
  if (id == nullptr && draft == 0) id = string_at(node, "id");
  if (id == nullptr || (node.contains("$ref") && draft != 0 && draft <= 7)) return outer;
  const auto text = id->get<std::string>();
  if (text.starts_with('#')) {  // drafts up to 7
    add_anchor(node, outer, text.substr(1));
    return outer;
  }
  const std::string base = resolve_uri(outer->base, text);
  resources_.push_back(std::make_unique<SchemaResource>(
      SchemaResource{.base = base, .root = &node, .draft = draft}));
  resource_at_[&node] = resources_.back().get();
  by_uri_.try_emplace(base, SchemaPlace{&node, resources_.back().get(), base + "#"});
  return resources_.back().get();
}

void SchemaSource::add_anchor(const Node& node, const SchemaResource* resource,
                              const std::string& name) {
  by_uri_.try_emplace(resource->base + "#" + name, SchemaPlace{&node, resource, "#" + name});
}

void SchemaSource::index(const Node& node, const SchemaResource* resource) {
  resource = begin_resource(node, resource);
  for (const char* keyword : {"$anchor", "$dynamicAnchor"})
    if (const Node* name = string_at(node, keyword)) add_anchor(node, resource, *name);
  const auto recursive = node.find("$recursiveAnchor");
  if (recursive != node.end() && *recursive == true) ++dynamic_[""];
  if (const Node* name = string_at(node, "$dynamicAnchor")) ++dynamic_[*name];
  index_children(node, resource);
}

void SchemaSource::index_children(const Node& node, const SchemaResource* resource) {
  const auto each = [&](const Node& list) {
    for (const auto& item : list)
      if (item.is_object()) index(item, resource);
  };
  for (const auto& [keyword, value] : node.items()) {
    if (is_one_of(keyword, {"properties", "patternProperties", "$defs", "definitions",
                            "dependentSchemas", "dependencies"})) {
      if (value.is_object()) each(value);
    } else if (is_one_of(keyword, {"allOf", "anyOf", "oneOf", "prefixItems", "items"}) &&
               value.is_array()) {
      each(value);
    } else if (is_one_of(keyword, {"items", "additionalItems", "contains", "additionalProperties",
                                   "propertyNames", "not", "if", "then", "else", "unevaluatedItems",
                                   "unevaluatedProperties"}) &&
               value.is_object()) {
      index(value, resource);
    }
  }
}

int SchemaSource::dynamic_anchors(const std::string& name) const {
  const auto at = dynamic_.find(name);
  return at == dynamic_.end() ? 0 : at->second;
}

SchemaPlace SchemaSource::child(const SchemaPlace& parent, const Node& node,
                                const std::string& path) const {
  const auto own = resource_at_.find(&node);
  return {&node, own == resource_at_.end() ? parent.resource : own->second, parent.path + path};
}

SchemaPlace SchemaSource::follow(const SchemaPlace& from, const SchemaPlace& root,
                                 std::string_view pointer) const {
  SchemaPlace at = root;
  for (std::string_view rest = pointer; !rest.empty();) {
    rest.remove_prefix(1);  // the slash
    const size_t end = std::min(rest.find('/'), rest.size());
    const std::string key = pointer_token(rest.substr(0, end));
    rest.remove_prefix(end);
    check_stop(1 + at.node->size() / kNamesPerStep);
    const Node* next = nullptr;
    if (at.node->is_object() && at.node->contains(key)) next = &(*at.node)[key];
    if (at.node->is_array() && !key.empty() && key.size() < 6 &&
        key.find_first_not_of("0123456789") == std::string::npos &&
        static_cast<size_t>(std::stoi(key)) < at.node->size())
      next = &(*at.node)[static_cast<size_t>(std::stoi(key))];
    if (next == nullptr)
      refuse_schema(from.path, fmt::format("the reference {} leads nowhere",
                                           quote("#" + std::string(pointer))));
    at = child(at, *next, "/" + key);
  }
  return at;
}

SchemaPlace SchemaSource::resolve(const SchemaPlace& from, const std::string& reference) const {
  const size_t hash = std::min(reference.find('#'), reference.size());
  const std::string fragment =
      hash < reference.size() ? unescape(std::string_view(reference).substr(hash + 1)) : "";
  check_stop(1 + (from.resource->base.size() + reference.size()) / 1024);
  const std::string uri = resolve_uri(from.resource->base, reference);
  SchemaPlace root{from.resource->root, from.resource, "#"};
  if (uri != from.resource->base) {
    const auto at = by_uri_.find(uri);
    if (at == by_uri_.end())
      refuse_schema(from.path, fmt::format("the reference {} leads out of the schema, which is not "
                                           "supported; expected #/...",
                                           quote(reference)));
    root = at->second;
  }
  if (fragment.empty()) return root;
  if (fragment.starts_with('/')) return follow(from, root, fragment);
  const auto anchor = by_uri_.find(uri + "#" + fragment);
  if (anchor == by_uri_.end())
    refuse_schema(from.path, fmt::format("the reference {} leads nowhere", quote(reference)));
  return anchor->second;
}

}  // namespace um
