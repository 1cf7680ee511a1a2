// The paged cache: what a row computes has the same bits alone and in any batch, whatever the
// chunks of a prompt, the number of generated rows at once, the pages, and the threads.
#include <gtest/gtest.h>
#include <omp.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <optional>
#include <ostream>
#include <random>
#include <tuple>

#include "models/config.h"
#include "ops/devices.h"
#include "ops/rope.h"
#include "tests/engine/tiny_model_util.h"

namespace um {
namespace {

/// One sequence's tokens: a prompt, then generated ones.
struct Text {
  std::vector<int32_t> ids;
  int64_t prompt = 0;
};

/// What a sequence has left behind: the trunk's output of each row, and of MTP head 0.
struct Trace {
  std::vector<float> hidden, draft, cached;
  bool operator==(const Trace&) const = default;
};

/// `rows` tokens of text `text` to run next.
struct Part {
  size_t text = 0;
  int64_t rows = 0;
};

/// A pool with a few texts on it. `order` permutes the pages that they take.
class Served {
 public:
  Served(const Model& model, DType cache, const std::vector<Text>& texts, uint64_t order)
      : model_(model),
        texts_(texts),
        states_(texts.size()),
        pool_(model.make_pool(pages_for_all(), cache)) {
    std::vector<int32_t> free(static_cast<size_t>(pool_.pages()));
    std::iota(free.begin(), free.end(), 0);
    if (order != 0) std::shuffle(free.begin(), free.end(), std::mt19937_64(order));
    for (size_t s = 0; s < texts.size(); ++s)
      for (int64_t i = 0; i < KvPool::pages_for(std::ssize(texts[s].ids)); ++i) {
        states_[s].pages.push_back(free.back());
        free.pop_back();
      }
    for (int64_t i = 0; i < pool_.layers(); ++i) {  // what nobody wrote must not be read
      const LayerCache& layer = pool_.layer(i);
      for (const Rows& rows : {layer.k, layer.v, Rows(layer.index)})
        if (rows) {
          const Tensor& all = rows.is_int8() ? rows.scales : rows.values;
          const int64_t count = pool_.pages() * kPageRows * all.cols();
          if (all.dtype() == DType::bf16)
            std::fill_n(all.data<uint16_t>(), count, uint16_t{0x7fc0});
          else
            std::fill_n(all.f32(), count, NAN);
        }
      if (layer.conv) std::fill_n(layer.conv.f32(), layer.conv.count(), NAN);
    }
  }

  int64_t left(size_t s) const { return std::ssize(texts_[s].ids) - states_[s].length; }
  int64_t prompt_left(size_t s) const { return texts_[s].prompt - states_[s].length; }

  /// One forward of the trunk and of MTP head 0. Parts with prompt rows come first.
  void step(const std::vector<Part>& parts) {
    std::vector<SequenceRows> layout;
    std::vector<KvSequence> sequences;
    std::vector<int32_t> ids, next;
    for (const auto& [s, rows] : parts) {
      const State& state = states_[s];
      layout.push_back({state.length, rows});
      const bool prompt = state.length < texts_[s].prompt;
      sequences.push_back({state.pages, state.length, rows, prompt});
      for (int64_t t = state.length; t < state.length + rows; ++t) {
        ids.push_back(texts_[s].ids[static_cast<size_t>(t)]);
        next.push_back(texts_[s].ids[static_cast<size_t>(t + 1) % texts_[s].ids.size()]);
      }
    }
    Device& device = model_.device();
    const KvView view = KvView::make(pool_, sequences);
    const Ragged rows = Ragged::batch(device, layout);
    const auto tensor = [&](const std::vector<int32_t>& values) {
      return Tensor::from(device, {std::ssize(values)}, std::span(values));
    };
    const Tensor hidden = model_.trunk(tensor(ids), rows, {.cache = &view}).hidden;
    Tensor draft;
    if (model_.mtp_heads() > 0)
      draft = model_.mtp(0, hidden, tensor(next), rows, {.cache = &view}).hidden;
    int64_t row = 0;
    for (const auto& [s, count] : parts) {
      append(hidden.row_range(row, row + count), states_[s].trace.hidden);
      if (draft) append(draft.row_range(row, row + count), states_[s].trace.draft);
      states_[s].length += count;
      row += count;
    }
  }

  /// Runs text s alone: its prompt in chunks, then `at_once` generated rows in a forward.
  void run(size_t s, int64_t chunk, int64_t at_once) {
    while (left(s) > 0)
      step(
          {{s, prompt_left(s) > 0 ? std::min(chunk, prompt_left(s)) : std::min(at_once, left(s))}});
  }

  /// The text's trace, with all that the pool holds of it.
  Trace trace(size_t s) const {
    Trace out = states_[s].trace;
    std::vector<int32_t> slots;
    for (int64_t t = 0; t < states_[s].length; ++t)
      slots.push_back(static_cast<int32_t>(
          states_[s].pages[static_cast<size_t>(t / kPageRows)] * kPageRows + t % kPageRows));
    const Tensor where = Tensor::from(model_.device(), {std::ssize(slots)}, std::span(slots));
    for (int64_t i = 0; i < pool_.layers(); ++i)
      for (const Rows& rows : {pool_.layer(i).k, pool_.layer(i).v, Rows(pool_.layer(i).index)})
        if (rows) append(gather_rows(rows, where), out.cached);
    return out;
  }

 private:
  struct State {
    std::vector<int32_t> pages;
    int64_t length = 0;
    Trace trace;
  };
  static void append(const Tensor& rows, std::vector<float>& to) {
    const std::vector<float> values = rows.to_vector();
    to.insert(to.end(), values.begin(), values.end());
  }
  int64_t pages_for_all() const {
    int64_t pages = 3;
    for (const Text& text : texts_) pages += KvPool::pages_for(std::ssize(text.ids));
    return pages;
  }

  const Model& model_;
  const std::vector<Text> texts_;
  std::vector<State> states_;
  KvPool pool_;
};

/// A preset or golden case, the types of its weights and of its cache, and what products round to.
struct Variant {
  std::string preset;
  RowFormat weights = kF32Rows;
  DType cache = DType::f32;
  Operands operands = Operands::f32;
  bool operator<(const Variant& other) const {
    return std::tuple(preset, format_name(weights), cache, operands) <
           std::tuple(other.preset, format_name(other.weights), other.cache, other.operands);
  }
};

std::ostream& operator<<(std::ostream& out, const Variant& variant) {
  return out << variant.preset
             << (variant.weights == kF32Rows ? "" : "-" + format_name(variant.weights))
             << (variant.cache == DType::i8     ? "-int8-cache"
                 : variant.cache == DType::bf16 ? "-bf16-cache"
                                                : "")
             << (variant.operands == Operands::bf16 ? "-bf16-operands" : "");
}

/// Root mean square of the difference over that of `expected`.
double relative_rms(const std::vector<float>& expected, const std::vector<float>& got) {
  double error = 0, size = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    const double e = expected[i], difference = got[i] - e;
    error += difference * difference;
    size += e * e;
  }
  return std::sqrt(error / size);
}

class PagingTest : public ::testing::TestWithParam<Variant> {
 protected:
  void SetUp() override {
    const auto& [preset, weights, cache, operands] = GetParam();
    multiplying_.emplace(cpu_device(), operands);
    const std::filesystem::path root = UM_SOURCE_DIR;
    const bool golden = !std::filesystem::exists(root / "configs" / preset);
    ModelConfig config = read_config(root / (golden ? "tests/golden" : "configs") / preset);
    config.vocab = 300;
    config.init = InitRule::normal;
    config.initializer_range = 0.1;
    if (config.family == Family::ultra_moe) config.mtp_layers = 1;
    model_ = make_model(config, cpu_device(), weights);
    model_->params().initialize(3);
    add_text(600, 20);
    add_text(70, 30);
    add_text(5, 66);
    add_text(129, 0);
    std::vector<Trace>& alone = alone_[GetParam()];
    if (!alone.empty()) return;
    Served served = serve(0);
    for (size_t s = 0; s < texts_.size(); ++s) {
      served.run(s, 10000, 1);
      alone.push_back(served.trace(s));
    }
  }

  Served serve(uint64_t order) const { return {*model_, GetParam().cache, texts_, order}; }

  /// What text s leaves when it is the only one: its prompt in one forward, then row by row.
  const Trace& alone(size_t s) const { return alone_[GetParam()][s]; }

  void add_text(size_t prompt, size_t generated) {
    texts_.push_back(
        {random_ids(prompt + generated, 300, texts_.size() + 5), static_cast<int64_t>(prompt)});
  }

  void expect_alone(const Served& served, const std::string& where) const {
    for (size_t s = 0; s < texts_.size(); ++s) {
      if (served.left(s) == 0) {
        EXPECT_TRUE(served.trace(s) == alone(s)) << "text " << s << where;
      }
    }
  }

  std::optional<Multiplying> multiplying_;
  std::vector<Text> texts_;
  std::unique_ptr<Model> model_;
  static inline std::map<Variant, std::vector<Trace>> alone_;
};

/// Prompt rows are what training computes, to the bit; generated rows up to rounding. (With a
/// bf16 or int8 cache all are close.)
TEST_P(PagingTest, EqualsTheForwardWithoutCache) {
  for (size_t s = 0; s < texts_.size(); ++s) {
    const auto& [ids, prompt] = texts_[s];
    const std::vector<int64_t> offsets = {0, std::ssize(ids)};
    const Ragged rows = Ragged::full(model_->device(), offsets);
    const Tensor tokens = Tensor::from(model_->device(), {rows.rows}, std::span(ids));
    std::vector<int32_t> shifted = ids;
    std::rotate(shifted.begin(), shifted.begin() + 1, shifted.end());
    const Tensor hidden = model_->trunk(tokens, rows, {}).hidden;
    const auto compare = [&, prompt = prompt](const Tensor& expected,
                                              const std::vector<float>& got) {
      const std::vector<float> all = expected.to_vector();
      const auto exact = static_cast<std::ptrdiff_t>(prompt * expected.cols());
      if (GetParam().cache != DType::f32) {
        const double error = relative_rms(all, got);
        EXPECT_GT(error, 1e-5) << "not a narrow cache, text " << s;
        EXPECT_LT(error, 0.05) << "text " << s;
        return;
      }
      EXPECT_TRUE(std::equal(all.begin(), all.begin() + exact, got.begin())) << "text " << s;
      double worst = 0;
      for (size_t i = 0; i < all.size(); ++i)
        worst = std::max(worst, std::fabs(static_cast<double>(all[i]) - got[i]));
      // Where activations are rounded, a last bit may become a step, of a block if it is turned.
      const bool integers = GetParam().weights.has_scales();
      EXPECT_LT(worst, integers ? 4e-2 : 1e-3) << "text " << s;
    };
    compare(hidden, alone(s).hidden);
    if (model_->mtp_heads() == 0) continue;
    const Tensor next = Tensor::from(model_->device(), {rows.rows}, std::span(shifted));
    compare(model_->mtp(0, hidden, next, rows, {}).hidden, alone(s).draft);
  }
}

TEST_P(PagingTest, ChunksOfAPromptKeepItsBits) {
  for (const int64_t chunk : {1, 7, 64, 100}) {
    Served served = serve(0);
    for (size_t s = chunk == 1 ? 1 : 0; s < texts_.size(); ++s) served.run(s, chunk, 1);
    expect_alone(served, " in chunks of " + std::to_string(chunk));
  }
}

/// Drafts are verified many at once, and a preempted request is run again in one go.
TEST_P(PagingTest, GeneratedRowsAtOnceKeepTheirBits) {
  for (const int64_t at_once : {2, 3, 5, 17, 100}) {
    Served served = serve(0);
    for (size_t s = 0; s < texts_.size(); ++s) served.run(s, 10000, at_once);
    expect_alone(served, ", generated at once: " + std::to_string(at_once));
  }
}

TEST_P(PagingTest, PagesInAnyOrderKeepBits) {
  Served served = serve(9);
  for (size_t s = 0; s < texts_.size(); ++s) served.run(s, 200, 4);
  expect_alone(served, "");
}

/// All texts in one batch: prompts come in chunks of changing lengths while others already
/// generate.
TEST_P(PagingTest, CompanyKeepsBits) {
  const int threads = omp_get_max_threads();
  for (const int count : {1, 2, 3}) {
    omp_set_num_threads(count);
    Served served = serve(static_cast<uint64_t>(count));
    for (int64_t turn = 0;; ++turn) {
      std::vector<Part> parts;
      for (size_t s = 0; s < texts_.size(); ++s)
        if (served.prompt_left(s) > 0)
          parts.push_back({s, std::min<int64_t>(served.prompt_left(s), 3 + turn * 29 % 90)});
      for (size_t s = 0; s < texts_.size(); ++s)
        if (served.prompt_left(s) <= 0 && served.left(s) > 0)
          parts.push_back(
              {s, std::min<int64_t>(served.left(s), 1 + (turn + std::ssize(parts)) % 3)});
      if (parts.empty()) break;
      served.step(parts);
    }
    expect_alone(served, ", threads: " + std::to_string(count));
  }
  omp_set_num_threads(threads);
}

TEST_P(PagingTest, RefusesWhatDoesNotFit) {
  KvPool pool = model_->make_pool(4, GetParam().cache);
  const std::vector<int32_t> pages = {3, 1}, outside = {0, 4};
  const auto make = [&](std::vector<KvSequence> sequences) {
    return KvView::make(pool, sequences);
  };
  EXPECT_NO_THROW(make({{pages, 100, 28, true}, {pages, 0, 1, false}}));
  EXPECT_THROW(make({{pages, 100, 29, true}}), Error);
  EXPECT_THROW(make({{outside, 0, 2, true}}), Error);
  EXPECT_THROW(make({{pages, -1, 2, true}}), Error);
  EXPECT_THROW(make({{pages, 0, 1, false}, {pages, 100, 28, true}}), Error);
  const KvView view = make({{pages, 0, 2, true}});
  const Tensor ids = Tensor::zeros(model_->device(), {3}, DType::i32);
  const SequenceRows three{0, 3};
  const Ragged rows = Ragged::batch(model_->device(), {&three, 1});
  EXPECT_THROW(model_->trunk(ids, rows, {.cache = &view}), Error);
  const int64_t with_sinks = pool.pages() + pool.sinks() / kPageRows;
  int64_t bytes = 0;
  for (int64_t i = 0; i < pool.layers(); ++i) {
    const auto count = [&](const Tensor& rows, int64_t pages) {
      if (rows) bytes += static_cast<int64_t>(rows.bytes()) / pages;
    };
    for (const Rows& rows : {pool.layer(i).k, pool.layer(i).v}) {
      count(rows.values, with_sinks);
      count(rows.scales, with_sinks);
    }
    count(pool.layer(i).index, with_sinks);
    count(pool.layer(i).conv, pool.pages());
  }
  EXPECT_EQ(pool.page_bytes(), bytes);
}

INSTANTIATE_TEST_SUITE_P(
    Presets, PagingTest,
    ::testing::Values(
        Variant{"nano-ultra"}, Variant{"nano-ultra", kBf16Rows}, Variant{"nano-ultra", kW8Rows},
        Variant{"tiny-pro", kW8Rows}, Variant{"nano-ultra", kW4Rows}, Variant{"tiny-pro", kW4Rows},
        Variant{"nano-ultra", kF32Rows, DType::i8}, Variant{"nano-ultra", kF32Rows, DType::bf16},
        Variant{"tiny-embedded", kF32Rows, DType::bf16},
        Variant{"nano-openpangu2", kF32Rows, DType::bf16}, Variant{"tiny-pro"},
        Variant{"tiny-embedded"}, Variant{"qwen3"}, Variant{"qwen2_yarn"}, Variant{"deepseek_v2"},
        Variant{"pro_moe_v2"}, Variant{"nano-openpangu2"}, Variant{"nano-openpangu2", kBf16Rows},
        Variant{"nano-openpangu2", kW8Rows}, Variant{"nano-openpangu2", kF32Rows, DType::i8},
        Variant{"tiny-embedded", kF32Rows, DType::i8},
        Variant{"nano-ultra", kBf16Rows, DType::bf16, Operands::bf16},
        Variant{"tiny-pro", kBf16Rows, DType::f32, Operands::bf16},
        Variant{"nano-openpangu2", kBf16Rows, DType::bf16, Operands::bf16}),
    [](const auto& info) {
      std::string name = ::testing::PrintToString(info.param);
      std::replace(name.begin(), name.end(), '-', '_');
      return name;
    });

}  // namespace
}  // namespace um
