// How constrained answers do on a suite of schemas with instances: those that must be writable and
// are, those that must not be and are not, and what compiling and masking cost, in microseconds.
// Usage: schemas_bench TOKENIZER FOLDER [--whole] [--draft URI] [--every N] [--list] [--check]
//                      [--samples N]
// TOKENIZER: a file or folder that Tokenizer::load() reads, or "bytes": each byte is a token.
// FOLDER: files of one {"schema", "tests": [{"valid", "data"}]} (MaskBench's data) or of lists of
// them (the official suite's drafts), folders below too. --whole: a text counts as accepted if it
// may end too (MaskBench's own rule looks at each token alone). --draft: the "$schema" of schemas
// without one. --every: each Nth file only. --list: a line per schema that fails. --check: fails if
// a text was accepted that must not be. --samples: writes N random texts of each FILE's schema to
// FILE.samples, a list of strings; numbers of every second text are near their bounds.
#include <fmt/core.h>
#include <time.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <numeric>
#include <optional>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/rng.h"
#include "engine/constraint_factory.h"
#include "text/tokenizer.h"

namespace um {
namespace {

using Node = nlohmann::ordered_json;

constexpr double kSlowCompile = 20'000, kSlowMask = 1000;  // microseconds; --list names them

/// Processor time of this thread, so that other work on the machine does not count.
double now_us() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e6 + static_cast<double>(now.tv_nsec) / 1e3;
}

/// As Python's json.dumps writes it: a space behind "," and ":".
void write_instance(const Node& value, std::string& out) {
  if (!value.is_structured()) {
    out += value.dump();
    return;
  }
  out += value.is_object() ? '{' : '[';
  const char* separator = "";
  for (const auto& item : value.items()) {
    out += separator;
    separator = ", ";
    if (value.is_object()) out += Node(item.key()).dump() + ": ";
    write_instance(item.value(), out);
  }
  out += value.is_object() ? '}' : ']';
}

/// What an error is about, without its place and its names.
std::string cause(const std::string& error) {
  const size_t at = error.find(": ");
  std::string text = at == std::string::npos ? error : error.substr(at + 2);
  std::string out;
  for (const char c : text) out += c >= '0' && c <= '9' ? '#' : c;
  return out.substr(0, 100);
}

struct Result {
  int schemas = 0, passed = 0, refused = 0, wrong_accept = 0, wrong_refusal = 0;
  int64_t instances = 0, accepted_wrongly = 0, refused_wrongly = 0;
  std::map<std::string, int> causes;
  std::vector<double> compile_us, mask_us;
};

struct Options {
  std::string tokenizer, folder, draft;
  bool whole = false, list = false, check = false;
  size_t every = 1, samples = 0;
};

/// A tokenizer's tokens, or single bytes; behind them one that ends a text.
class Words {
 public:
  explicit Words(const std::string& tokenizer) {
    if (tokenizer != "bytes") tokenizer_ = Tokenizer::load(tokenizer);
    const int32_t size = tokenizer_ ? tokenizer_->vocab_size() : 256;
    for (int32_t id = 0; id < size; ++id) {
      if (!tokenizer_)
        bytes_.emplace_back(1, static_cast<char>(id));
      else
        bytes_.emplace_back(tokenizer_->is_special(id) ? "" : tokenizer_->bytes(id));
    }
    bytes_.emplace_back();
  }
  const std::vector<std::string>& bytes() const { return bytes_; }
  int32_t end() const { return static_cast<int32_t>(bytes_.size()) - 1; }
  std::vector<int32_t> encode(const std::string& text) const {
    if (tokenizer_) return tokenizer_->encode(text);
    std::vector<int32_t> ids;
    for (const char c : text) ids.push_back(static_cast<uint8_t>(c));
    return ids;
  }

 private:
  std::optional<Tokenizer> tokenizer_;
  std::vector<std::string> bytes_;
};

class Bench {
 public:
  explicit Bench(const Options& options)
      : options_(options),
        words_(options.tokenizer),
        factory_(words_.bytes(), {words_.end()}),
        logits_(words_.bytes().size()) {}

  /// False if a text was accepted that must not be.
  bool run() {
    std::vector<std::filesystem::path> files;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(options_.folder))
      if (entry.path().extension() == ".json") files.push_back(entry.path());
    std::sort(files.begin(), files.end());
    for (size_t i = 0; i < files.size(); i += options_.every) {
      std::ifstream in(files[i]);
      const Node file = Node::parse(in, nullptr, false);
      if (file.is_object() && file.contains("tests")) {
        if (const auto constraint = group(file, files[i].filename()))
          write_samples(*constraint, files[i].string() + ".samples");
      }
      if (!file.is_array()) continue;
      for (const Node& one : file)
        if (one.contains("tests"))
          group(one, files[i].filename().string() + ": " + one.value("description", ""));
    }
    print();
    return result_.wrong_accept == 0;
  }

 private:
  std::unique_ptr<Constraint> group(const Node& group, const std::string& name) {
    Node schema = group["schema"];
    if (!options_.draft.empty() && schema.is_object() && !schema.contains("$schema"))
      schema["$schema"] = options_.draft;
    ++result_.schemas;
    result_.instances += std::ssize(group["tests"]);
    std::unique_ptr<Constraint> constraint;
    const std::string text = schema.dump();
    const double begin = now_us();
    try {
      constraint = factory_.json_schema(text);
    } catch (const UsageError& error) {
      ++result_.refused;
      ++result_.causes[cause(error.what())];
      note("refused", name, error.what());
      return nullptr;
    }
    result_.compile_us.push_back(now_us() - begin);
    if (result_.compile_us.back() > kSlowCompile)
      note("slow", name, fmt::format("{:.1f} ms to compile", result_.compile_us.back() / 1000));
    bool accepts = false, refuses = false;
    for (const Node& test : group["tests"]) {
      std::string instance;
      write_instance(test["data"], instance);
      const bool accepted = lets_through(*constraint, instance, name), valid = test["valid"];
      if (accepted == valid) continue;
      (valid ? refuses : accepts) = true;
      ++(valid ? result_.refused_wrongly : result_.accepted_wrongly);
      note(valid ? "wrong refusal" : "WRONG ACCEPT", name, instance + " " + stopped_);
    }
    result_.wrong_accept += accepts ? 1 : 0;
    result_.wrong_refusal += refuses ? 1 : 0;
    result_.passed += accepts || refuses ? 0 : 1;
    return constraint;
  }

  void write_samples(const Constraint& constraint, const std::string& path) {
    if (options_.samples == 0) return;
    Node texts = Node::array();
    for (size_t i = 0; i < options_.samples; ++i) texts.push_back(sample(constraint, i));
    std::ofstream(path) << texts.dump(-1, ' ', true) << "\n";
  }

  /// A random text. What would go on for long is led to its end by what closes it.
  std::string sample(const Constraint& constraint, size_t number) {
    constexpr size_t kFree = 200, kMost = 20'000;
    const RandomStream random(1, number);
    const bool at_edges = number % 2 == 1;  // of numbers
    const auto copy = constraint.clone();
    std::string text;
    for (size_t step = 0; step < kMost; ++step) {
      std::fill(logits_.begin(), logits_.end(), 0.0f);
      copy->mask(logits_);
      std::vector<int32_t> allowed;
      int32_t closes = -1;
      for (size_t id = 0; id < logits_.size(); ++id) {
        if (std::isinf(logits_[id])) continue;
        allowed.push_back(static_cast<int32_t>(id));
        const std::string& bytes = words_.bytes()[id];
        // A quote first: in a text the others close nothing.
        if (bytes == "\"" || (closes < 0 && (bytes == "}" || bytes == "]")))
          closes = static_cast<int32_t>(id);
      }
      const auto may_end = !std::isinf(logits_[static_cast<size_t>(words_.end())]);
      const uint64_t bits = random.bits(step);
      const int32_t digit = at_edges && bits % 8 != 0 ? edge_digit(allowed, number % 4 == 1) : -1;
      const bool ends = step > kFree || allowed.size() == 1 || (digit < 0 && bits % 4 == 0);
      if (may_end && ends) break;
      if (may_end) std::erase(allowed, words_.end());
      const bool close = closes >= 0 && bits % (step > kFree ? 2 : 8) == 0;
      const int32_t id = close        ? closes
                         : digit >= 0 ? digit
                                      : allowed[(bits >> 8) % allowed.size()];
      copy->accept(id);
      text += words_.bytes()[static_cast<size_t>(id)];
    }
    return text;
  }

  /// The lowest digit that is allowed, or the highest; -1 if there is none.
  int32_t edge_digit(const std::vector<int32_t>& allowed, bool highest) const {
    int32_t found = -1;
    const auto bytes = [&](int32_t id) { return words_.bytes()[static_cast<size_t>(id)]; };
    for (const int32_t id : allowed) {
      const std::string text = bytes(id);
      if (text.size() != 1 || text < "0" || text > "9") continue;
      if (found < 0 || (text > bytes(found)) == highest) found = id;
    }
    return found;
  }

  bool allowed(Constraint& constraint, int32_t id) {
    std::fill(logits_.begin(), logits_.end(), 0.0f);
    const double begin = now_us();
    constraint.mask(logits_);
    const bool may = !std::isinf(logits_[static_cast<size_t>(id)]);
    if (may) constraint.accept(id);
    result_.mask_us.push_back(now_us() - begin);
    return may;
  }

  bool lets_through(const Constraint& constraint, const std::string& text,
                    const std::string& name) {
    const auto copy = constraint.clone();
    stopped_.clear();
    std::string done;
    for (const int32_t id : words_.encode(text)) {
      const bool may = allowed(*copy, id);
      const std::string behind =
          "behind " + done.substr(done.size() - std::min<size_t>(done.size(), 40));
      if (result_.mask_us.back() > kSlowMask)
        note("slow mask", name, fmt::format("{:.1f} ms {}", result_.mask_us.back() / 1000, behind));
      if (!may) {
        stopped_ = fmt::format("(stopped {})", behind);
        return false;
      }
      done += words_.bytes()[static_cast<size_t>(id)];
    }
    return !options_.whole || allowed(*copy, words_.end());
  }

  void note(const char* what, const std::string& name, const std::string& text) const {
    if (options_.list) fmt::print("{}: {}: {:.300}\n", what, name, text);
  }

  static void percentiles(const char* name, std::vector<double>& values) {
    if (values.empty()) return;
    std::sort(values.begin(), values.end());
    const double sum = std::accumulate(values.begin(), values.end(), 0.0);
    fmt::print("{:<10}  mean {:.0f}", name, sum / static_cast<double>(values.size()));
    for (const double p : {0.5, 0.75, 0.9, 0.99, 0.999, 1.0})
      fmt::print("  p{:g} {:.0f}", 100 * p,
                 values[static_cast<size_t>(p * static_cast<double>(values.size() - 1))]);
    fmt::print("\n");
  }

  void print() {
    fmt::print(
        "schemas {}  passed {}  refused {}  with a wrong accept {}  with a wrong refusal {}\n",
        result_.schemas, result_.passed, result_.refused, result_.wrong_accept,
        result_.wrong_refusal);
    fmt::print("instances {}  wrongly accepted {}  wrongly refused {}\n", result_.instances,
               result_.accepted_wrongly, result_.refused_wrongly);
    percentiles("compile us", result_.compile_us);
    percentiles("mask us", result_.mask_us);
    fmt::print("masks {}\n", result_.mask_us.size());
    std::vector<std::pair<int, std::string>> causes;
    for (const auto& [text, count] : result_.causes) causes.emplace_back(-count, text);
    std::sort(causes.begin(), causes.end());
    if (causes.size() > 40) causes.resize(40);
    for (const auto& [count, text] : causes) fmt::print("{:>6}  {}\n", -count, text);
  }

  Options options_;
  Words words_;
  ConstraintFactory factory_;
  std::vector<float> logits_;
  std::string stopped_;
  Result result_;
};

Options read_options(int argc, char** argv) {
  Options options;
  std::vector<std::string> words(argv + 1, argv + argc);
  std::vector<std::string> places;
  for (size_t i = 0; i < words.size(); ++i) {
    const bool more = i + 1 < words.size();
    if (words[i] == "--whole")
      options.whole = true;
    else if (words[i] == "--list")
      options.list = true;
    else if (words[i] == "--check")
      options.check = true;
    else if (words[i] == "--draft" && more)
      options.draft = words[++i];
    else if (words[i] == "--every" && more)
      options.every = std::max<size_t>(1, std::stoul(words[++i]));
    else if (words[i] == "--samples" && more)
      options.samples = std::stoul(words[++i]);
    else
      places.push_back(words[i]);
  }
  if (places.size() != 2)
    throw UsageError(
        "usage: schemas_bench TOKENIZER FOLDER [--whole] [--draft URI] [--every N] [--list] "
        "[--check] [--samples N]");
  options.tokenizer = places[0];
  options.folder = places[1];
  return options;
}

}  // namespace
}  // namespace um

int main(int argc, char** argv) {
  try {
    const um::Options options = um::read_options(argc, argv);
    const bool right = um::Bench(options).run();
    return right || !options.check ? 0 : 1;
  } catch (const um::Error& error) {
    fmt::print(stderr, "error: {}\n", error.what());
    return 1;
  }
}
