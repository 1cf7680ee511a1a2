// The kernel table of one instruction set.
#include "kernels/kernels.h"

#define UM_TEXT_(x) #x
#define UM_TEXT(x) UM_TEXT_(x)

namespace um::UM_ISA {

const Kernels kTable = {.name = UM_TEXT(UM_ISA), UM_KERNEL_LIST(UM_KERNEL_ENTRY)};

}  // namespace um::UM_ISA
