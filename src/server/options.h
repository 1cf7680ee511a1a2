// Everything that describes a server: one list of fields gives flags, --help and the file.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/fields.h"
#include "engine/engine.h"

namespace um {

struct ServeOptions {
  std::string host = "127.0.0.1";
  int64_t port = 8000;  ///< 0: any free one, printed
  std::string api_key, api_key_file;
  std::vector<std::string> allowed_host;
  std::string tls_cert, tls_key;
  std::vector<std::string> cors;
  std::string model_name, draft_model;
  std::string mode = "default";
  std::string log_level = "info";
  bool quiet = false;
  int64_t max_connections = 512;
  int64_t max_body_bytes = 8 << 20;
  int64_t max_header_bytes = 16 << 10;
  int64_t max_unread_bytes = 4 << 20;
  int64_t max_n = 16;
  int64_t stored_responses = 1000, stored_response_bytes = 64 << 20;
  double read_timeout = 30, write_timeout = 30;
  double request_timeout = 1800;
  double drain_timeout = 600;
  double ping = 15;
  bool page = true;
  EngineOptions engine;
  std::string cache_dtype = "auto";
  double expert_memory = 0;

  void fields(Fields& f);
  /// Throws UsageError for settings that do not fit together; reads api_key_file.
  void resolve();
};

}  // namespace um
