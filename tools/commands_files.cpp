// Commands on files: put, get, ls, cat, mkdir, mv, rm, stat.

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>

#include "tools/command.h"
#include "tools/file_text.h"

namespace cairn::tools {

namespace {

Json reads_json(const ReadFigures& figures) {
  return {{"requests", figures.requests}, {"bytes", figures.bytes}, {"holders", figures.holders}};
}

Json transfer_json(const TransferReport& report, bool put) {
  Json object = {{"message_type", "summary"}};
  if (put) {
    object["files_new"] = report.files;
    object["files_unmodified"] = report.unchanged;
    object["dirs_new"] = report.directories;
    object["data_added"] = report.bytes;
  } else {
    object["files_restored"] = report.files;
    object["files_skipped"] = report.unchanged;
    object["bytes_restored"] = report.bytes;
  }
  object["total_files"] = report.files + report.unchanged;
  object["total_bytes_processed"] = report.bytes;
  object["total_duration"] = report.seconds;
  object["others"] = report.others;
  object["resumed_bytes"] = report.resumed_bytes;
  object["failed"] = report.failed;
  object["packs"] = report.packs;
  object["packs_below_goal"] = report.packs_below_goal;
  object["requests"] = report.requests;
  if (!put) object["decoded_reads"] = report.decoded_reads;
  if (!put) object["raced_reads"] = report.raced_reads;
  if (!put) object["data_reads"] = reads_json(report.data_reads);
  if (!put) object["tree_reads"] = reads_json(report.tree_reads);
  object["bytes_sent"] = report.bytes_sent;
  object["bytes_received"] = report.bytes_received;
  return object;
}

int finish_transfer(const Context& context, const std::string& on, const Result<TransferReport>& report, bool put,
                    bool wait_placed) {
  if (!report) return context.output.fail(on, report.error());
  if (context.output.json) {
    context.output.emit(transfer_json(*report, put));
  } else {
    const double rate = report->seconds > 0 ? static_cast<double>(report->bytes) / report->seconds : 0;
    std::string line = fmt::format("{} {} files, {} folders, {} in {:.1f} s ({}/s)", put ? "Stored" : "Got",
                                   report->files, report->directories, format_size(report->bytes), report->seconds,
                                   format_size(static_cast<uint64_t>(rate)));
    if (report->unchanged > 0) line += fmt::format("; {} were there already", report->unchanged);
    if (report->resumed_bytes > 0) line += fmt::format("; went on after {}", format_size(report->resumed_bytes));
    if (report->failed > 0) line += fmt::format("; {} FAILED", report->failed);
    if (report->packs_below_goal > 0)
      line += fmt::format("; {} packs are below their redundancy goal", report->packs_below_goal);
    context.output.say(line);
  }
  if (report->failed > 0) return kPartly;
  if (wait_placed && report->packs_below_goal > 0) return kBelowGoal;
  return kDone;
}

TransferOptions transfer_options(const Context& context, ProgressLine& line, bool wait_placed) {
  return {
      .on_progress = line.callback(),
      .on_error = [&context](const std::string& path, const Error& error) { context.output.file_error(path, error); },
      .wait_placed = wait_placed};
}

Command put_command() {
  return {"put", "store files and folders", "cairn put ~/Documents main:/docs", [](CLI::App& app) {
            auto paths = std::make_shared<std::vector<std::string>>();
            auto wait = std::make_shared<std::string>();
            app.add_option("paths", *paths, "SRC... TREE:/PATH ('-' as SRC: standard input)")
                ->required()
                ->expected(2, 1 << 20);
            app.add_option("--wait", *wait, "placed: return once every pack is at its redundancy goal (else exit 16)")
                ->check(CLI::IsMember({"placed"}));
            return [=](Context& context) {
              std::vector<std::string> sources(paths->begin(), paths->end() - 1);
              const std::string destination = paths->back();
              const bool stream = sources.size() == 1 && sources[0] == "-";
              if (auto path = TreePath::parse(destination); !path)
                return context.output.fail(destination, path.error());
              int code = kDone;
              Client* client = context.client(code);
              if (client == nullptr) return code;
              Result<TransferReport> report;
              {
                ProgressLine line(context.output, true);
                const TransferOptions options = transfer_options(context, line, !wait->empty());
                const auto read = [](void* into, size_t size) -> Result<size_t> {
                  for (;;) {
                    const ssize_t got = ::read(STDIN_FILENO, into, size);
                    if (got >= 0) return static_cast<size_t>(got);
                    if (errno != EINTR)
                      return fail(Code::io, std::string("cannot read standard input: ") + std::strerror(errno));
                  }
                };
                report = stream ? client->put_stream(read, destination, options)
                                : client->put(sources, destination, options);
              }
              return finish_transfer(context, destination, report, true, !wait->empty());
            };
          }};
}

Status write_stdout(const void* from, size_t size) {
  const char* at = static_cast<const char*>(from);
  while (size > 0) {
    const ssize_t put = ::write(STDOUT_FILENO, at, size);
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return fail(Code::io, std::string("cannot write standard output: ") + std::strerror(errno));
    at += put;
    size -= static_cast<size_t>(put);
  }
  return {};
}

// A part of a file, for `cat` and `get ... -`.
struct RangeOptions {
  std::string offset, length;
  void declare(CLI::App& app) {
    app.add_option("--offset", offset, "begin so many bytes into the file (4K, 1G...)")->check(size_text());
    app.add_option("--length", length, "so many bytes at most")->check(size_text());
  }
  bool given() const { return !offset.empty() || !length.empty(); }
  void apply(TransferOptions& options) const {
    if (!offset.empty()) options.offset = parse_size(offset).value_or(0);  // size_text() has seen them
    if (!length.empty()) options.length = parse_size(length).value_or(0);
  }
};

// Standard output has the file's bytes: with --json the summary goes to standard error.
int finish_stream(const Context& context, const std::string& source, const Result<TransferReport>& report) {
  if (!report) return context.output.fail(source, report.error());
  if (context.output.json) context.output.emit_aside(transfer_json(*report, false));
  return kDone;
}

Command get_command() {
  return {"get", "bring files and folders back", "cairn get main:/docs ~/restored", [](CLI::App& app) {
            auto source = std::make_shared<std::string>();
            auto destination = std::make_shared<std::string>();
            auto range = std::make_shared<RangeOptions>();
            app.add_option("source", *source, "TREE:/PATH")->required();
            app.add_option("destination", *destination, "where to ('-': standard output)")->required();
            range->declare(app);
            return [=](Context& context) {
              if (auto path = TreePath::parse(*source); !path) return context.output.fail(*source, path.error());
              if (*destination != "-" && range->given()) {
                return context.output.fail(
                    *destination, Error{Code::bad_input, "--offset and --length are for '-', standard output"});
              }
              int code = kDone;
              Client* client = context.client(code);
              if (client == nullptr) return code;
              const bool stream = *destination == "-";
              Result<TransferReport> report;
              {
                ProgressLine line(context.output, false, stream);
                TransferOptions options = transfer_options(context, line, false);
                range->apply(options);
                report = stream ? client->get_stream(*source, write_stdout, options)
                                : client->get(*source, *destination, options);
              }
              if (stream) return finish_stream(context, *source, report);
              return finish_transfer(context, *source, report, false, false);
            };
          }};
}

Command cat_command() {
  return {"cat", "print a file's bytes", "cairn cat main:/docs/a.txt", [](CLI::App& app) {
            auto sources = std::make_shared<std::vector<std::string>>();
            auto range = std::make_shared<RangeOptions>();
            app.add_option("paths", *sources, "TREE:/PATH...")->required();
            range->declare(app);
            return [=](Context& context) {
              int code = kDone;
              Client* client = context.client(code);
              if (client == nullptr) return code;
              for (const auto& source : *sources) {
                TransferOptions options;
                range->apply(options);
                auto report = client->get_stream(source, write_stdout, options);
                if (const int ended = finish_stream(context, source, report); ended != kDone) return ended;
              }
              return static_cast<int>(kDone);
            };
          }};
}

Command ls_command() {
  return {
      "ls", "list a folder, or what a snapshot has", "cairn ls -l main:/docs\n  cairn ls latest /etc",
      [](CLI::App& app) {
        struct Flags {
          std::string path;
          std::vector<std::string> folders;
          SnapshotFilter filter;
          bool details = false, recursive = false;
        };
        auto flags = std::make_shared<Flags>();
        app.add_option("path", flags->path, "TREE:/PATH, or a snapshot: its ID's first digits, or latest")->required();
        app.add_option("folders", flags->folders, "of the snapshot: what is in these; without any, all there is");
        app.add_flag("-l,--long", flags->details, "with mode, owner, size and time");
        app.add_flag("-R,--recursive", flags->recursive, "with all that is below");
        declare_filter(app, flags->filter);
        return [=](Context& context) {
          int code = kDone;
          Client* client = context.client(code);
          if (client == nullptr) return code;
          const bool of_snapshot = flags->path.find(":/") == std::string::npos;
          const bool full_paths = flags->recursive || of_snapshot;
          const auto visit = [&](const FileStatus& file) {
            if (context.output.json) {
              context.output.emit(file_json(file));
            } else if (flags->details) {
              emit_text("{}\n", file_line(file, full_paths));
            } else {
              emit_text("{}\n", printable(full_paths ? file.path : base_name(file.path)));
            }
            return std::ferror(stdout) == 0;  // `ls | head -1` ends us
          };
          const auto head = [&](const SnapshotReport& snapshot) {
            if (!context.output.json) return;
            Json object = {{"message_type", "snapshot"}, {"struct_type", "snapshot"}};
            object.update(snapshot_json(snapshot));
            context.output.emit(object);
          };
          auto done = of_snapshot ? Backups(*client).list(flags->path, flags->filter, flags->folders, flags->recursive,
                                                          head, visit)
                                  : client->list(flags->path, flags->recursive, visit);
          if (!done) return context.output.fail(flags->path, done.error());
          return static_cast<int>(kDone);
        };
      }};
}

Command stat_command() {
  return {"stat", "all that is known of one entry", "cairn stat main:/docs/a.txt", [](CLI::App& app) {
            auto path = std::make_shared<std::string>();
            app.add_option("path", *path, "TREE:/PATH")->required();
            return [=](Context& context) {
              int code = kDone;
              Client* client = context.client(code);
              if (client == nullptr) return code;
              auto file = client->stat(*path);
              if (!file) return context.output.fail(*path, file.error());
              if (context.output.json) {
                context.output.emit(file_json(*file));
                return static_cast<int>(kDone);
              }
              emit_text(
                  "Path      {}\nType      {}\nSize      {}\nMode      {} ({:04o})\nOwner     {} {}\nGroup     {} "
                  "{}\nLinks     {}\nInode     {}\nModified  {}\nChanged   {}\nBorn      {}\n",
                  printable(file->path), type_name(file->type), file->size, mode_text(*file), file->mode, file->uid,
                  printable(file->owner), file->gid, printable(file->group), file->links, file->inode,
                  format_time(file->mtime), format_time(file->ctime), format_time(file->btime));
              if (file->type == FileType::symlink) emit_text("Target    {}\n", printable(file->target));
              return static_cast<int>(kDone);
            };
          }};
}

Command mkdir_command() {
  return {"mkdir", "make folders", "cairn mkdir -p main:/docs/2026", [](CLI::App& app) {
            auto paths = std::make_shared<std::vector<std::string>>();
            auto parents = std::make_shared<bool>(false);
            app.add_option("paths", *paths, "TREE:/PATH...")->required();
            app.add_flag("-p,--parents", *parents, "with all above it; no error when it is there");
            return [=](Context& context) {
              int code = kDone;
              Client* client = context.client(code);
              if (client == nullptr) return code;
              for (const auto& path : *paths) {
                if (auto done = client->mkdir(path, *parents); !done) return context.output.fail(path, done.error());
              }
              return static_cast<int>(kDone);
            };
          }};
}

Command mv_command() {
  return {"mv", "rename or move", "cairn mv main:/docs/a.txt main:/docs/b.txt", [](CLI::App& app) {
            auto from = std::make_shared<std::string>();
            auto to = std::make_shared<std::string>();
            app.add_option("from", *from, "TREE:/PATH")->required();
            app.add_option("to", *to, "TREE:/PATH of the same tree; into it when it is a folder")->required();
            return [=](Context& context) {
              int code = kDone;
              Client* client = context.client(code);
              if (client == nullptr) return code;
              if (auto done = client->move(*from, *to); !done) return context.output.fail(*from, done.error());
              return static_cast<int>(kDone);
            };
          }};
}

Command rm_command() {
  return {"rm", "remove files, and folders with -r", "cairn rm -r main:/docs/old", [](CLI::App& app) {
            auto paths = std::make_shared<std::vector<std::string>>();
            auto recursive = std::make_shared<bool>(false);
            app.add_option("paths", *paths, "TREE:/PATH...")->required();
            app.add_flag("-r,--recursive", *recursive, "folders with all that is in them");
            return [=](Context& context) {
              int code = kDone;
              Client* client = context.client(code);
              if (client == nullptr) return code;
              for (const auto& path : *paths) {
                if (auto done = client->remove(path, *recursive); !done) return context.output.fail(path, done.error());
              }
              return static_cast<int>(kDone);
            };
          }};
}

}  // namespace

std::vector<Command> file_commands() {
  return {put_command(),   get_command(), ls_command(), cat_command(),
          mkdir_command(), mv_command(),  rm_command(), stat_command()};
}

}  // namespace cairn::tools
