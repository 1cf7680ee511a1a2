// The argument structs of the kernel table (kernels.h has the rules and the shape legend), by
// subject.
#pragma once

#include "kernels/args/attention.h"
#include "kernels/args/causal_conv.h"
#include "kernels/args/elementwise.h"
#include "kernels/args/key_mask.h"
#include "kernels/args/loss.h"
#include "kernels/args/matmul.h"
#include "kernels/args/moe.h"
#include "kernels/args/norm.h"
#include "kernels/args/rotate_rows.h"
#include "kernels/args/rows_view.h"
#include "kernels/args/streams.h"
#include "kernels/args/swiglu.h"
