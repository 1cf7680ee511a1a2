// The kernel table: every computation a device has to offer, forward and gradient, as plain
// function pointers over plain argument structs. One filling per backend and instruction set:
//   ref     kernels/ref      scalar, readable, defines what is correct
//   avx2    kernels/cpu/isa  the same sources compiled per instruction set,
//   avx512                   with oneDNN for large GEMMs
// and none for the `dry` device, which only asks cost() (kernels/cost.h) what a call would do.
//
// Rules: row-major f32 unless a field says otherwise; `ld` = elements between rows; kernels never
// throw, never allocate tensors, never write inputs. A gradient output has a flag `accumulate_x`:
// add to what is there, or overwrite. A null gradient output is not wanted. The result for one row
// never depends on the other rows, and is the same for every number of rows. Legend: T tokens, D
// hidden, E experts, K experts per token, A = T*K assignments, F expert width, H heads, V
// vocabulary.
#pragma once

#include "kernels/args.h"

namespace um {

// clang-format off
#define UM_KERNEL_LIST(X)                          \
  X(matmul, Matmul)                                \
  X(grouped_matmul, GroupedMatmul)                 \
  X(rmsnorm, RmsNorm)                              \
  X(rmsnorm_grad, RmsNormGrad)                     \
  X(residual_norm, ResidualNorm)                   \
  X(residual_norm_grad, ResidualNormGrad)          \
  X(rope, Rope)                                    \
  X(latent_norm_rope, LatentNormRope)              \
  X(latent_norm_rope_grad, LatentNormRopeGrad)     \
  X(attention, Attention)                          \
  X(attention_grad, AttentionGrad)                 \
  X(key_mask, KeyMask)                             \
  X(causal_conv, CausalConv)                       \
  X(causal_conv_grad, CausalConvGrad)              \
  X(stream_gates, StreamGates)                     \
  X(stream_gates_grad, StreamGatesGrad)            \
  X(stream_mix, StreamMix)                         \
  X(stream_mix_grad, StreamMixGrad)                \
  X(swiglu, Swiglu)                                \
  X(swiglu_grad, SwigluGrad)                       \
  X(router, Router)                                \
  X(router_grad, RouterGrad)                       \
  X(balance_stats, BalanceStats)                   \
  X(moe_permute, MoePermute)                       \
  X(moe_combine, MoeCombine)                       \
  X(moe_scatter, MoeScatter)                       \
  X(embedding, Embedding)                          \
  X(embedding_grad, EmbeddingGrad)                 \
  X(cross_entropy, CrossEntropy)                   \
  X(bias_grad, BiasGrad)                           \
  X(add, Add)                                      \
  X(copy_blocks, CopyBlocks)                       \
  X(rotate_rows, RotateRows)                       \
  X(quantize_rows, QuantizeRows)                   \
  X(narrow_rows, NarrowRows)                       \
  X(dequantize_rows, DequantizeRows)               \
  X(adamw, AdamW)                                  \
  X(sum_squares, SumSquares)
// clang-format on

struct Kernels {
  const char* name;
#define UM_KERNEL_FIELD(function, Args) void (*function)(const Args&);
  UM_KERNEL_LIST(UM_KERNEL_FIELD)
#undef UM_KERNEL_FIELD
};

/// Declares every kernel of the list in the current namespace.
#define UM_DECLARE_KERNEL(function, Args) void function(const Args& args);
/// One initialiser of a Kernels table.
#define UM_KERNEL_ENTRY(function, Args) .function = function,

namespace ref {
UM_KERNEL_LIST(UM_DECLARE_KERNEL)
extern const Kernels kTable;
}  // namespace ref

#ifdef UM_X86
namespace avx2 {
UM_KERNEL_LIST(UM_DECLARE_KERNEL)
extern const Kernels kTable;
}  // namespace avx2
namespace avx512 {
UM_KERNEL_LIST(UM_DECLARE_KERNEL)
extern const Kernels kTable;
}  // namespace avx512
#endif

}  // namespace um
