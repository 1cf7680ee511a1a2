// Asks the processor once which instruction sets it has.
#include "kernels/registry.h"

namespace um {

std::vector<const Kernels*> available_kernels() {
  std::vector<const Kernels*> tables{&ref::kTable};
#ifdef UM_X86
  const bool has_avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool has_avx512 = has_avx2 && __builtin_cpu_supports("avx512f") &&
                          __builtin_cpu_supports("avx512bw") &&
                          __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  if (has_avx2) tables.push_back(&avx2::kTable);
  if (has_avx512) tables.push_back(&avx512::kTable);
#endif
  return tables;
}

const Kernels& best_cpu_kernels() {
  static const Kernels& best = *available_kernels().back();
  return best;
}

std::string_view integer_products(const Kernels& table) {
  if (&table == &ref::kTable) return "scalar";
#ifdef UM_X86
  if (&table == &avx512::kTable && __builtin_cpu_supports("avx512vnni")) return "AVX-512 VNNI";
#endif
  return "AVX2";
}

const Kernels* find_kernels(std::string_view name) {
  for (const Kernels* table : available_kernels()) {
    if (name == table->name) return table;
  }
  return nullptr;
}

}  // namespace um
