// Numbers as people read them.
#pragma once

#include <cstdint>
#include <string>

namespace um {

std::string digits(int64_t count);      ///< 717,914,119,680
std::string short_count(double count);  ///< 717.9 B, 1.2 M, 830
std::string bytes_text(double bytes);   ///< 1.44 TB (powers of 1000)

}  // namespace um
