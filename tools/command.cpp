#include "tools/command.h"

#include <fmt/format.h>

#include <csignal>
#include <filesystem>
#include <iostream>

namespace cairn::tools {

namespace {
Client* running = nullptr;  // what Ctrl-C interrupts; set once, before the handler is
void on_signal(int) {
  if (running != nullptr) running->interrupt();
}
}  // namespace

Client* Context::client(int& exit_code) {
  if (!client_) {
    auto opened = Client::open({.home = home, .log_level = output.verbose ? "debug" : "error", .backups = backups});
    if (!opened) {
      exit_code = output.fail(home, opened.error());
      return nullptr;
    }
    client_ = std::move(*opened);
    running = client_.get();
    std::signal(SIGINT, on_signal);
    std::signal(SIGTERM, on_signal);
  }
  return client_.get();
}

Context::~Context() {
  if (client_) {
    for (const std::string& warning : client_->take_warnings()) output.warn(warning);
  }
  std::signal(SIGINT, SIG_DFL);
  std::signal(SIGTERM, SIG_DFL);
  running = nullptr;
}

bool confirm(const std::string& question) {
  emit_text(stderr, "{} [y/N] ", question);
  std::string answer;
  std::getline(std::cin, answer);
  return answer == "y" || answer == "Y" || answer == "yes";
}

CLI::Validator size_text() {
  return {[](const std::string& text) {
            return parse_size(text) ? std::string() : "'" + text + "' is not a size (use for instance 200G)";
          },
          "SIZE"};
}
CLI::Validator duration_text() {
  return {[](const std::string& text) {
            return parse_duration(text) ? std::string() : "'" + text + "' is not a duration (use for instance 24h)";
          },
          "TIME"};
}

void StoreOptions::declare(CLI::App& app) {
  app.add_option("--store", directories, "directory to lend space in (may be repeated)")->type_name("DIR");
  app.add_option("--limit", limits, "how much of it, one for each --store, e.g. 200G")->check(size_text());
}

Result<std::vector<StoreSpec>> StoreOptions::specs() const {
  if (directories.size() != limits.size()) return fail(Code::bad_input, "each --store needs a --limit of its own");
  std::vector<StoreSpec> specs;
  for (size_t i = 0; i < directories.size(); ++i) {
    auto spec = store_spec(directories[i], limits[i], "");
    if (!spec) return spec.error().context.empty() ? fail(Code::bad_input) : fail(spec.error());
    specs.push_back(std::move(*spec));
  }
  return specs;
}

Result<std::string> store_path(const std::string& directory) {
  std::error_code error;
  std::string path = std::filesystem::absolute(directory, error).lexically_normal().string();
  if (error || directory.empty()) return fail(Code::bad_input, "not a path: '" + directory + "'");
  while (path.size() > 1 && path.ends_with('/')) path.pop_back();
  return path;
}

Result<StoreSpec> store_spec(const std::string& directory, const std::string& limit, const std::string& keep_free) {
  StoreSpec spec;
  auto path = store_path(directory);
  if (!path) return fail(path.error());
  spec.path = *path;
  auto bytes = parse_size(limit);
  if (!bytes) return fail(bytes.error());
  spec.limit = *bytes;
  if (keep_free.ends_with('%')) {
    char* end = nullptr;
    spec.keep_free_share = std::strtod(keep_free.c_str(), &end) / 100;
    if (end != keep_free.c_str() + keep_free.size() - 1 || !(spec.keep_free_share >= 0 && spec.keep_free_share < 1)) {
      return fail(Code::bad_input, "--keep-free takes a size or a share below 100 %, not '" + keep_free + "'");
    }
  } else if (!keep_free.empty()) {
    auto free = parse_size(keep_free);
    if (!free) return fail(free.error());
    spec.keep_free = *free;
    spec.keep_free_share = 0;
  }
  return spec;
}

}  // namespace cairn::tools
