// The kernel table of the scalar reference.
#include "kernels/kernels.h"

namespace um::ref {

const Kernels kTable = {.name = "ref", UM_KERNEL_LIST(UM_KERNEL_ENTRY)};

}  // namespace um::ref
