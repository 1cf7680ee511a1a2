// See report.h. The page is src/quant/page/, embedded by CMake.
#include "quant/report.h"

#include "core/files.h"
#include "core/html_page.h"
#include "embedded/quant_page.h"  // made by CMake

namespace um {

using OrderedJson = nlohmann::ordered_json;

double mean_bits(const std::vector<QuantizedMatrix>& matrices) {
  double bits = 0, values = 0;
  for (const QuantizedMatrix& matrix : matrices) {
    bits += matrix.bits * static_cast<double>(matrix.values);
    values += static_cast<double>(matrix.values);
  }
  return values > 0 ? bits / values : 0;
}

OrderedJson to_json(const QuantizeReport& report) {
  OrderedJson matrices = OrderedJson::array();
  for (const QuantizedMatrix& matrix : report.matrices) matrices.push_back(to_json(matrix));
  return {{"name", report.name},
          {"settings",
           {{"scheme", report.scheme},
            {"method", round_method_name(report.options.method)},
            {"calibration_tokens", report.calibration_tokens},
            {"min_inputs", report.options.min_rows}}},
          {"totals",
           {{"source_bytes", report.source_bytes},
            {"bytes", report.bytes},
            {"bits", mean_bits(report.matrices)},
            {"whole_bits", report.whole_bits()}}},
          {"kept", report.kept},
          {"quality", report.quality},
          {"quality_note", report.quality_note},
          {"seconds", report.seconds},
          {"matrices", matrices}};
}

void write_report(const QuantizeReport& report, const std::filesystem::path& directory) {
  const OrderedJson data = to_json(report);
  write_file_atomic(directory / "quantization.json",
                    data.dump(1, ' ', false, OrderedJson::error_handler_t::replace) + "\n");
  const std::string title = escape_html(report.name), json = script_json(data);
  write_file_atomic(
      directory / "quantization.html",
      fill_page(embedded::kQuantizationHtml, {{"title", title},
                                              {"style", embedded::kPageCss},
                                              {"own_style", embedded::kQuantizationCss},
                                              {"data", json},
                                              {"script", embedded::kQuantizationJs}}));
}

}  // namespace um
