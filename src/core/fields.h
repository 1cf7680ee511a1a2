// Fields: one list per options struct gives its command-line flags, --help, TOML and JSON.
//
// A struct names its members once, in a method `fields`; their initialisers are the defaults:
//
//   struct TrainOptions {
//     double lr = 3e-4;
//     std::string schedule = "cosine";
//     std::vector<Phase> phases;  // Phase has fields of its own: TOML's [[phases]]
//     void fields(Fields& f) {
//       f.add("lr", lr, "peak learning rate", {.unit = "per step", .min = 0, .max = 1});
//       f.add("schedule", schedule, "shape of the rate", {.choices = {"cosine", "constant"}});
//       f.add("phases", phases, "phases in turn");
//     }
//   };
//   Fields fields;
//   fields.group("train", train_options);   // names become train.lr, ...
//   FieldFlags flags(app, fields);          // --config FILE, --train.lr ...
//   app.parse(argc, argv), flags.apply();   // the file first, then the flags
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <limits>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace CLI {
class App;
}

namespace um {

class Fields;

/// What a field may hold. Limits are inclusive; `min` of a string is 1 where it may not be empty.
struct FieldSpec {
  std::string unit = {};
  double min = -std::numeric_limits<double>::infinity();
  double max = std::numeric_limits<double>::infinity();
  std::vector<std::string> choices = {};  // of a string
  bool pairs = false;                     // strings NAME=VALUE, of which a flag may hold several
};

/// A member that is a list of structs with fields.
struct FieldTables {
  std::function<void(size_t)> reset;  // to this many structs, all with their defaults
  std::function<size_t()> size;
  std::function<Fields(size_t)> at;
};

/// One member of an options struct: its dotted name and where its value lies.
struct Field {
  std::string name;
  std::string help;
  FieldSpec spec;
  std::variant<bool*, int64_t*, double*, std::string*, std::vector<std::string>*,
               std::vector<double>*, FieldTables>
      target;
};

/// The fields of a struct that outlives it. Wrong names and values throw UsageError, starting with
/// `where` or the flag.
class Fields {
 public:
  void add(const std::string& name, bool& value, std::string help, FieldSpec spec = {});
  void add(const std::string& name, int64_t& value, std::string help, FieldSpec spec = {});
  void add(const std::string& name, double& value, std::string help, FieldSpec spec = {});
  void add(const std::string& name, std::string& value, std::string help, FieldSpec spec = {});
  void add(const std::string& name, std::vector<std::string>& value, std::string help,
           FieldSpec spec = {});
  void add(const std::string& name, std::vector<double>& value, std::string help,
           FieldSpec spec = {});
  template <class T>
  void add(const std::string& name, std::vector<T>& list, std::string help);

  /// Adds the fields of a part under NAME. ("train.lr", in TOML a table [train]).
  template <class T>
  void group(const std::string& name, T& part);

  /// Sets one field from the texts of its flag, one for each time it was given; several only for a
  /// list. A text is one string of a list, or several numbers or NAME=VALUE pairs with commas
  /// between them; a comma that no NAME= follows belongs to the value.
  void set(const std::string& name, const std::vector<std::string>& texts);
  /// Sets the fields that an object names; the others stay as they are. A list may be given as the
  /// one value it has.
  void read(const nlohmann::json& object, const std::string& where);
  /// The same from a .json file, or a TOML file of any other name.
  void read_file(const std::filesystem::path& path);

  /// The present values, as `read` takes them.
  nlohmann::json to_json() const;
  std::string to_toml() const;

  const std::vector<Field>& list() const { return list_; }

  /// A field whose value is not the same in two structs, with both values as in a TOML file.
  struct Change {
    std::string name, from, to;
  };
  /// From the values of `earlier`, which has the same fields, to those here.
  std::vector<Change> changes_since(const Fields& earlier) const;

 private:
  void insert(Field field);
  void read_into(const nlohmann::json& object, const std::string& prefix, const std::string& where);
  const Field* find(std::string_view name) const;
  [[noreturn]] void unknown(const std::string& name, const std::string& where) const;

  std::string prefix_;
  std::vector<Field> list_;
};

/// The fields as flags of a command, and `--config FILE` for a file of them. A list's flag may be
/// given several times; each adds to the list.
class FieldFlags {
 public:
  /// Adds the flags, with each present value as the default that --help shows. `app` and the struct
  /// behind `fields` must outlive this object.
  FieldFlags(CLI::App& app, Fields fields);
  FieldFlags(const FieldFlags&) = delete;

  /// After parsing: reads the file, if one was named, then sets the fields whose flags were given.
  void apply();

 private:
  Fields fields_;
  std::string file_;
  std::vector<std::pair<std::string, std::vector<std::string>>> given_;  // field, its texts
};

/// Throws UsageError for the first argument that a parsed command did not expect (it must allow
/// extras), naming the nearest flag.
void refuse_extras(const CLI::App& app);
/// Throws UsageError for the first option that takes a single value and was given several times.
void refuse_repeats(const CLI::App& app);

/// Parses TOML. Throws UsageError with `where`, line and column.
nlohmann::json parse_toml(std::string_view text, const std::string& where);

template <class T>
void Fields::add(const std::string& name, std::vector<T>& list, std::string help) {
  FieldTables tables;
  tables.reset = [&list](size_t size) { list.assign(size, T{}); };
  tables.size = [&list] { return list.size(); };
  tables.at = [&list](size_t i) {
    Fields fields;
    list[i].fields(fields);
    return fields;
  };
  insert({name, std::move(help), {}, std::move(tables)});
}

template <class T>
void Fields::group(const std::string& name, T& part) {
  const std::string outer = std::exchange(prefix_, prefix_ + name + ".");
  part.fields(*this);
  prefix_ = outer;
}

}  // namespace um
