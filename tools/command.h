#pragma once
// The one table of commands: help, completion and manual pages all come from it.

#include <CLI/CLI.hpp>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "cairn/prune.h"
#include "cairn/setup.h"
#include "tools/output.h"

namespace cairn::tools {

// What is common to all commands of one run.
struct Context {
  Output output;
  std::string home;                 // resolved
  std::string backups = "backups";  // of commands on snapshots: the volume that these are in

  // Opens the client of the home, and from then on Ctrl-C interrupts it. Null: said why; return `exit_code`.
  Client* client(int& exit_code);
  ~Context();

 private:
  std::unique_ptr<Client> client_;
};

// A command declares its options on `app` and returns what runs it; options live in a state of its own.
struct Command {
  std::string name;  // "put", "store add"
  std::string summary;
  std::string example;
  std::function<std::function<int(Context&)>(CLI::App& app)> declare;
};

std::vector<Command> pool_commands();
std::vector<Command> hosting_commands();
std::vector<Command> member_commands();
std::vector<Command> volume_commands();
std::vector<Command> file_commands();
std::vector<Command> backup_commands();
std::vector<Command> snapshot_commands();
std::vector<Command> check_commands();
std::vector<Command> prune_commands();
std::vector<Command> rebalance_commands();
std::vector<Command> drive_commands();
std::vector<Command> demo_commands();
std::vector<Command> generate_commands();

// Asks on the terminal; only "y" and "yes" are yes.
bool confirm(const std::string& question);
void print_prune(Context& context, const PruneReport& report, bool dry_run);

// Reads a size or a duration option; CLI::ValidationError (exit 2) when it is none.
CLI::Validator size_text();
CLI::Validator duration_text();

// "DIR" options with their "--limit" and "--keep-free" beside them, in order.
struct StoreOptions {
  std::vector<std::string> directories, limits;
  void declare(CLI::App& app);
  Result<std::vector<StoreSpec>> specs() const;
};
// An absolute path without dots, as it is lent.
Result<std::string> store_path(const std::string& directory);
Result<StoreSpec> store_spec(const std::string& directory, const std::string& limit, const std::string& keep_free);

}  // namespace cairn::tools
