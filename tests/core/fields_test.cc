// One field list drives flags, help, TOML and JSON; mistakes are usage errors that help.
#include "core/fields.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <filesystem>

#include "core/error.h"
#include "core/files.h"
#include "core/json.h"
#include "core/suggest.h"

namespace um {
namespace {

struct Phase {
  int64_t tokens = 100;
  double lr = 0.5;
  void fields(Fields& f) {
    f.add("tokens", tokens, "tokens of the phase", {.min = 1});
    f.add("lr", lr, "learning rate", {.min = 0, .max = 1});
  }
  bool operator==(const Phase&) const = default;
};

struct Train {
  double lr = 3e-4;
  int64_t steps = 1000;
  bool recompute = false;
  std::string schedule = "cosine";
  std::vector<std::string> files{"a.txt"};
  std::vector<double> weights;
  std::vector<Phase> phases;
  void fields(Fields& f) {
    f.add("lr", lr, "peak learning rate", {.unit = "per step", .min = 0, .max = 1});
    f.add("steps", steps, "steps", {.min = 0});
    f.add("recompute", recompute, "recompute activations");
    f.add("schedule", schedule, "shape of the rate", {.choices = {"cosine", "constant"}});
    f.add("files", files, "texts");
    f.add("weights", weights, "weights of the texts", {.min = 0});
    f.add("phases", phases, "phases, one after the other");
  }
  bool operator==(const Train&) const = default;
};

struct Options {
  std::string name = "run";
  Train train;
  void fields(Fields& f) {
    f.add("name", name, "name of the run");
    f.group("train", train);
  }
  bool operator==(const Options&) const = default;
};

Fields fields_of(Options& run) {
  Fields fields;
  run.fields(fields);
  return fields;
}

template <class Call>
std::string usage_error(Call call) {
  try {
    call();
  } catch (const UsageError& error) {
    EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos) << error.what();
    return error.what();
  }
  return "";
}

std::string toml_error(const std::string& text) {
  Options run;
  return usage_error([&] { fields_of(run).read(parse_toml(text, "r.toml"), "r.toml"); });
}

TEST(FieldsTest, ReadsToml) {
  Options run;
  fields_of(run).read(parse_toml("name = 'x'\n[train]\nlr = 1\nsteps = 1e6\nrecompute = true\n"
                                 "files = ['p', 'q']\nweights = [1, 0.5]\nschedule = 'constant'\n"
                                 "[[train.phases]]\ntokens = 5\n[[train.phases]]\nlr = 0.25\n",
                                 "r.toml"),
                      "r.toml");
  EXPECT_EQ(run.name, "x");
  EXPECT_EQ(run.train.lr, 1.0);
  EXPECT_EQ(run.train.steps, 1000000);
  EXPECT_TRUE(run.train.recompute);
  EXPECT_EQ(run.train.files, (std::vector<std::string>{"p", "q"}));
  EXPECT_EQ(run.train.weights, (std::vector<double>{1, 0.5}));
  EXPECT_EQ(run.train.phases, (std::vector<Phase>{{5, 0.5}, {100, 0.25}}));
}

TEST(FieldsTest, AListMayBeGivenAsItsOneValue) {
  Options run;
  fields_of(run).read(
      parse_toml("[train]\nfiles = 'p,q'\nweights = 0.5\n[train.phases]\ntokens = 5\n", "r.toml"),
      "r.toml");
  EXPECT_EQ(run.train.files, (std::vector<std::string>{"p,q"}));
  EXPECT_EQ(run.train.weights, (std::vector<double>{0.5}));
  EXPECT_EQ(run.train.phases, (std::vector<Phase>{{5, 0.5}}));
}

TEST(FieldsTest, WritesWhatItReads) {
  Options run;
  run.name = "quote \" back \\ new\nline \u00e9 \U0001f600";
  run.train.lr = 1.0 / 3;
  run.train.weights = {1, 1e-30, 2.5};
  run.train.phases = {{1, 0}, {7, 1}};
  run.train.files.clear();
  const std::string toml = fields_of(run).to_toml();
  Options from_toml, from_json;
  fields_of(from_toml).read(parse_toml(toml, "t"), "t");
  EXPECT_EQ(from_toml, run) << toml;
  fields_of(from_json).read(parse_json(to_text(fields_of(run).to_json()), "j"), "j");
  EXPECT_EQ(from_json, run);
  Options defaults, again;
  fields_of(again).read(parse_toml(fields_of(defaults).to_toml(), "t"), "t");
  EXPECT_EQ(again, defaults);
}

TEST(FieldsTest, RefusalsNameTheFieldAndWhatIsExpected) {
  std::string deep = "a";
  for (int i = 0; i < 50'000; ++i) deep += ".a";
  for (const std::string& text :
       {deep + " = 1", "[" + deep + "]", "[[" + deep + "]]", "x = {" + deep + " = 1}"})
    EXPECT_EQ(toml_error("\n" + text), "r.toml: line 2: a key of more than 256 parts");
  EXPECT_EQ(toml_error("[train]\nlr_ = 1"),
            "r.toml: unknown field \"train.lr_\"; did you mean \"train.lr\"?");
  EXPECT_EQ(toml_error("[train]\nlr = 3"),
            "r.toml: \"train.lr\": expected a number from 0 to 1 (per step), found 3");
  EXPECT_EQ(toml_error("[train]\nsteps = -1"),
            "r.toml: \"train.steps\": expected a whole number of at least 0, found -1");
  EXPECT_EQ(toml_error("[train]\nschedule = 'cos'"),
            "r.toml: \"train.schedule\": expected one of cosine, constant, found \"cos\"");
  EXPECT_EQ(toml_error("[[train.phases]]\n[[train.phases]]\ntoken = 1"),
            "r.toml: \"train.phases\"[1]: unknown field \"token\"; did you mean \"tokens\"?");
  EXPECT_NE(toml_error("[train]\nsteps = 1.5"), "");
  EXPECT_NE(toml_error("[train]\nsteps = 1e300"), "");
  for (const char* given : {"nan", "inf", "-inf"}) {
    const std::string expected =
        fmt::format("expected a finite number from 0 to 1 (per step), found {}", given);
    EXPECT_EQ(toml_error(fmt::format("[train]\nlr = {}", given)),
              "r.toml: \"train.lr\": " + expected);
    EXPECT_NE(toml_error(fmt::format("[train]\nweights = [{}]", given)).find(given),
              std::string::npos);
    EXPECT_NE(toml_error(fmt::format("[train]\nsteps = {}", given)).find(given), std::string::npos);
  }
  EXPECT_NE(toml_error("[train]\nlr = 'x'"), "");
  EXPECT_NE(toml_error("[train]\nrecompute = 1"), "");
  EXPECT_NE(toml_error("[train]\nfiles = 1"), "");
  EXPECT_NE(toml_error("[train]\nfiles = [['x']]"), "");
  EXPECT_NE(toml_error("[train]\nweights = 'x'"), "");
  EXPECT_NE(toml_error("[train]\nweights = [1, -1]"), "");
  EXPECT_NE(toml_error("[train]\nphases = 3"), "");
  EXPECT_NE(toml_error("[train]\nphases = [3]"), "");
  EXPECT_NE(toml_error("train = 3"), "");
  EXPECT_NE(toml_error("name = 1979-05-27"), "");
  EXPECT_NE(toml_error("name = 'a'\nname = 'b'").find("r.toml: line 2"), std::string::npos);
  EXPECT_NE(toml_error("name = "), "");
}

TEST(FieldsTest, FlagsOverrideTheFile) {
  const auto path = std::filesystem::temp_directory_path() / fmt::format("um_{}.toml", getpid());
  write_file_atomic(path, "[train]\nlr = 0.1\nsteps = 5\nrecompute = true\n");
  Options run;
  CLI::App app;
  FieldFlags flags(app, fields_of(run));
  app.parse("--train.lr 0.2 --train.files x,y --train.files z --config " + path.string() +
            " --train.recompute=false --train.weights 1,2.5");
  flags.apply();
  std::filesystem::remove(path);
  EXPECT_EQ(run.train.lr, 0.2);
  EXPECT_EQ(run.train.steps, 5);
  EXPECT_FALSE(run.train.recompute);
  EXPECT_EQ(run.train.files, (std::vector<std::string>{"x,y", "z"}));
  EXPECT_EQ(run.train.weights, (std::vector<double>{1, 2.5}));
}

TEST(FieldsTest, FlagMistakes) {
  const auto error = [](const std::string& line) {
    Options run;
    CLI::App app;
    app.allow_extras();
    FieldFlags flags(app, fields_of(run));
    app.parse(line);
    return usage_error([&] {
      refuse_extras(app);
      refuse_repeats(app);
      flags.apply();
    });
  };
  EXPECT_EQ(error("--train.lr 0.5"), "");
  EXPECT_EQ(error("--train.recompute --train.steps 1e3"), "");
  EXPECT_EQ(error("--train.lr x"),
            "--train.lr: expected a number from 0 to 1 (per step), found \"x\"");
  for (const char* given : {"inf", "nan", "-inf"})
    EXPECT_EQ(error(fmt::format("--train.lr {}", given)),
              fmt::format("--train.lr: expected a finite number from 0 to 1 (per step), found {}",
                          given));
  EXPECT_NE(error("--train.weights 1,nan").find("found nan"), std::string::npos);
  EXPECT_EQ(error("--train.lrr=3"), "unknown option \"--train.lrr\"; did you mean --train.lr?");
  EXPECT_EQ(error("here"), "unexpected argument \"here\"");
  EXPECT_NE(error("--train.schedule cosin"), "");
  EXPECT_NE(error("--train.weights 1,,2"), "");
}

TEST(FieldsTest, ListsAddUp) {
  Options run;
  run.train.files = {"default"};
  CLI::App app;
  FieldFlags flags(app, fields_of(run));
  app.parse("--train.files x --train.weights 1 --train.files=y --train.weights 2,3");
  flags.apply();
  EXPECT_EQ(run.train.files, (std::vector<std::string>{"x", "y"}));
  EXPECT_EQ(run.train.weights, (std::vector<double>{1, 2, 3}));
}

TEST(FieldsTest, ACommaInATextStays) {
  using Texts = std::vector<std::string>;
  const auto files = [](std::vector<std::string> arguments) {
    Options run;
    CLI::App app;
    FieldFlags flags(app, fields_of(run));
    std::reverse(arguments.begin(), arguments.end());
    app.parse(arguments);
    flags.apply();
    return run.train.files;
  };
  EXPECT_EQ(files({"--train.files", "Hello, world", "--train.files=a,b"}),
            (Texts{"Hello, world", "a,b"}));
  EXPECT_EQ(files({"--train.files", "[a,b]"}), Texts{"[a,b]"});
  EXPECT_EQ(files({"--train.files", ""}), Texts{""});
}

TEST(FieldsTest, PairsAreCutWhereANameFollows) {
  std::vector<std::string> pairs;
  Fields fields;
  fields.add("set", pairs, "changes", {.pairs = true});
  fields.set("set", {"a=1,b.c=[1,2],d=x,y", "e={\"k\": 1, \"m=\": 2}", "f"});
  EXPECT_EQ(pairs, (std::vector<std::string>{"a=1", "b.c=[1,2]", "d=x,y", "e={\"k\": 1, \"m=\": 2}",
                                             "f"}));
  fields.set("set", {"a=1,a=1", "a=1"});
  EXPECT_EQ(pairs.size(), 3u);
  try {
    fields.set("set", {"a=1,b=2", "a=3"});
    ADD_FAILURE();
  } catch (const UsageError& error) {
    EXPECT_STREQ(error.what(), "--set: \"a=1\" and \"a=3\"; give one of them");
  }
}

TEST(FieldsTest, HelpShowsDefaultUnitAndRange) {
  Options run;
  CLI::App app;
  FieldFlags flags(app, fields_of(run));
  const std::string help = app.help();
  for (const char* part : {"--train.lr NUMBER", "0.0003", "peak learning rate, per step (0 to 1)",
                           "(cosine, constant)", "recompute activations (off)", "a.txt"}) {
    EXPECT_NE(help.find(part), std::string::npos) << part << " in\n" << help;
  }
}

TEST(FieldsTest, Nearest) {
  EXPECT_EQ(nearest("kitten", {"mitten", "sitting"}), "mitten");
  EXPECT_EQ(nearest("", {"abc", "a"}), "a");
  EXPECT_EQ(nearest("x", {}), "");
  Fields twice;
  bool flag = false;
  twice.add("x", flag, "");
  EXPECT_THROW(twice.add("x", flag, ""), Error);
}

}  // namespace
}  // namespace um
