// A bounded per-thread cache of oneDNN matmul primitives, keyed by shape.
#include "kernels/cpu/onednn_matmul.h"

#include <array>
#include <dnnl.hpp>
#include <map>
#include <unordered_map>

namespace um {
namespace {

constexpr size_t kMaxPrimitives = 128;

using Key = std::array<int64_t, 11>;

const dnnl::engine& engine() {
  static const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  return engine;
}

/// A primitive and the memory objects whose pointers are set before each run.
struct Product {
  dnnl::matmul primitive;
  dnnl::memory a, b, c, bias;
  std::unordered_map<int, dnnl::memory> arguments;

  explicit Product(const Matmul& args) {
    using dnnl::memory;
    using enum memory::data_type;
    const auto desc = [](int64_t rows, int64_t columns, memory::data_type type, int64_t ld,
                         bool transposed) {
      return memory::desc({rows, columns}, type,
                          transposed ? memory::dims{1, ld} : memory::dims{ld, 1});
    };
    const auto of = [](const RowsView& rows) { return rows.type() == RowType::bf16 ? bf16 : f32; };
    const memory::desc desc_a = desc(args.m, args.k, of(args.a), args.a.ld(), args.trans_a);
    const memory::desc desc_b = desc(args.k, args.n, of(args.b), args.b.ld(), args.trans_b);
    const memory::desc desc_c = desc(args.m, args.n, f32, args.ldc, false);
    const memory::desc desc_bias = desc(1, args.n, f32, args.n, false);
    dnnl::primitive_attr attr;
    if (args.accumulate) {
      dnnl::post_ops ops;
      ops.append_sum();
      attr.set_post_ops(ops);
    }
    const auto op = args.bias != nullptr ? dnnl::matmul::desc(desc_a, desc_b, desc_bias, desc_c)
                                         : dnnl::matmul::desc(desc_a, desc_b, desc_c);
    primitive = dnnl::matmul(dnnl::matmul::primitive_desc(op, attr, engine()));
    a = memory(desc_a, engine(), DNNL_MEMORY_NONE);
    b = memory(desc_b, engine(), DNNL_MEMORY_NONE);
    c = memory(desc_c, engine(), DNNL_MEMORY_NONE);
    arguments = {{DNNL_ARG_SRC, a}, {DNNL_ARG_WEIGHTS, b}, {DNNL_ARG_DST, c}};
    if (args.bias != nullptr) {
      bias = memory(desc_bias, engine(), DNNL_MEMORY_NONE);
      arguments.insert({DNNL_ARG_BIAS, bias});
    }
  }
};

Product& product_for(const Matmul& args) {
  thread_local std::map<Key, Product> products;
  const Key key = {args.m,
                   args.n,
                   args.k,
                   args.a.ld(),
                   args.b.ld(),
                   args.ldc,
                   args.trans_a,
                   args.trans_b,
                   args.accumulate,
                   args.bias != nullptr,
                   args.a.type() == RowType::bf16};
  const auto found = products.find(key);
  if (found != products.end()) return found->second;
  if (products.size() >= kMaxPrimitives) products.clear();
  return products.emplace(key, Product(args)).first->second;
}

}  // namespace

static bool has_one_type(const Matmul& args) {
  const RowType type = args.a.type();
  return (type == RowType::f32 || type == RowType::bf16) && args.b.type() == type;
}

bool onednn_matmul(const Matmul& args) {
  if (args.m <= 0 || args.n <= 0 || args.k <= 0 || args.batch != 1) return false;
  if ((args.bias != nullptr && args.accumulate) || !has_one_type(args)) return false;
  try {
    thread_local dnnl::stream stream(engine());
    Product& product = product_for(args);
    product.a.set_data_handle(const_cast<void*>(args.a.values), stream);
    product.b.set_data_handle(const_cast<void*>(args.b.values), stream);
    product.c.set_data_handle(args.c, stream);
    if (args.bias != nullptr) product.bias.set_data_handle(const_cast<float*>(args.bias), stream);
    product.primitive.execute(stream, product.arguments);
    stream.wait();
    return true;
  } catch (const dnnl::error&) {
    return false;
  }
}

const char* bf16_instructions() {
  static const dnnl::cpu_isa isa = dnnl::get_effective_cpu_isa();
  if (isa == dnnl::cpu_isa::avx512_core_amx) return "AMX";
  return isa == dnnl::cpu_isa::avx512_core_bf16 ? "AVX512-BF16" : nullptr;
}

}  // namespace um
