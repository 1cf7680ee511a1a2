// Accuracy of the vector exp, per instruction set.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <string_view>
#include <vector>

#include "kernels/registry.h"

#ifdef UM_X86
namespace um {
namespace avx2 {
void exp_array(const float* x, float* y, int64_t count);
}
namespace avx512 {
void exp_array(const float* x, float* y, int64_t count);
}

namespace {

void run_exp(std::string_view name, const std::vector<float>& x, std::vector<float>& y) {
  y.assign(x.size(), -1);
  (name == "avx2" ? avx2::exp_array : avx512::exp_array)(x.data(), y.data(),
                                                         static_cast<int64_t>(x.size()));
}

// Distance in units of the last place of the correctly rounded result.
double error_in_ulp(float x, float y) {
  const double right = std::exp(static_cast<double>(x));
  const float rounded = static_cast<float>(right);
  const double ulp = std::max<double>(
      std::nextafter(rounded, std::numeric_limits<float>::infinity()) - rounded, 0x1p-149);
  return std::abs(y - right) / ulp;
}

TEST(SimdTest, ExpIsWithinTwoUlp) {
  std::vector<float> x, y;
  for (float v = -104.5f; v < 88.72f; v += 0.00037f) x.push_back(v);
  for (float v = 1e-30f; v < 1; v *= 1.1f) x.insert(x.end(), {v, -v});
  for (const Kernels* kernels : available_kernels()) {
    if (kernels == &ref::kTable) continue;
    run_exp(kernels->name, x, y);
    double worst = 0;
    float where = 0;
    for (size_t i = 0; i < x.size(); ++i) {
      const double error = error_in_ulp(x[i], y[i]);
      if (error > worst) worst = error, where = x[i];
    }
    EXPECT_LE(worst, 2.0) << kernels->name << " at " << where;
    RecordProperty(kernels->name, std::to_string(worst));
  }
}

TEST(SimdTest, ExpOfSpecialValues) {
  const float inf = std::numeric_limits<float>::infinity();
  const std::vector<float> x{0.0f,    -0.0f,    inf,   -inf,    std::nanf(""),
                             1000.0f, -1000.0f, 89.5f, -104.1f, 88.8f};
  std::vector<float> y;
  for (const Kernels* kernels : available_kernels()) {
    if (kernels == &ref::kTable) continue;
    run_exp(kernels->name, x, y);
    const std::vector<float> expected{1, 1, inf, 0, 0, inf, 0, inf, 0, inf};
    for (size_t i = 0; i < x.size(); ++i) {
      if (std::isnan(x[i])) {
        EXPECT_TRUE(std::isnan(y[i])) << kernels->name;
      } else {
        EXPECT_EQ(y[i], expected[i]) << kernels->name << " exp(" << x[i] << ")";
      }
    }
  }
}

}  // namespace
}  // namespace um
#endif
