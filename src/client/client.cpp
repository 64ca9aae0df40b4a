// The public Client over Core.

#include "cairn/client.h"

#include "client/get.h"
#include "client/hand_over.h"
#include "client/members.h"
#include "client/namespace_ops.h"
#include "client/put.h"
#include "client/report.h"

namespace cairn {

class Client::Impl {
 public:
  std::unique_ptr<client::Core> core;
};

namespace {

// Takes the "/" at the end of "main:/docs/" for what it says: into that folder.
bool means_into(const std::string& text) {
  return text.ends_with('/');
}

}  // namespace

Client::Client(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Client::~Client() = default;

Result<std::unique_ptr<Client>> Client::open(const ClientOptions& options) {
  auto core = client::Core::open(options);
  if (!core) return fail(std::move(core.error()));
  auto impl = std::make_unique<Impl>();
  impl->core = std::move(*core);
  return std::unique_ptr<Client>(new Client(std::move(impl)));
}

client::Core& Client::core() {
  return *impl_->core;
}

void Client::interrupt() {
  impl_->core->interrupt();
}

Result<PoolReport> Client::report() {
  return impl_->core->run<PoolReport>([&] { return client::pool_report(*impl_->core); },
                                      client::Core::Refused::goes_on);
}

Result<std::vector<NodeReport>> Client::nodes() {
  return impl_->core->run<std::vector<NodeReport>>([&] { return client::node_reports(*impl_->core); },
                                                   client::Core::Refused::goes_on);
}

std::vector<std::string> Client::take_warnings() {
  return impl_->core->take_warnings();
}

Result<uint64_t> Client::hand_over_registers() {
  return impl_->core->run<uint64_t>([&] { return client::hand_over_registers(*impl_->core); });
}
Result<HostingReport> Client::hosting() {
  return impl_->core->run<HostingReport>([&] { return client::hosting_report(*impl_->core); },
                                         client::Core::Refused::goes_on);
}

Result<PingReport> Client::ping(const std::string& node) {
  return impl_->core->run<PingReport>([&] { return client::ping_node(*impl_->core, node); });
}

std::vector<Finding> Client::doctor() {
  auto findings = impl_->core->run<std::vector<Finding>>([&] { return client::examine(*impl_->core); },
                                                         client::Core::Refused::goes_on);
  if (!findings) return {{.ok = false, .what = to_string(findings.error()), .fix = "try again"}};
  return std::move(*findings);
}

Result<std::vector<MemberReport>> Client::members() {
  return impl_->core->run<std::vector<MemberReport>>([&] { return client::member_reports(*impl_->core); },
                                                     client::Core::Refused::goes_on);
}

Result<MemberReport> Client::find_member(const std::string& member) {
  return impl_->core->run<MemberReport>([&] { return client::find_member(*impl_->core, member); });
}

Result<MemberReport> Client::remove_member(const std::string& member) {
  return impl_->core->run<MemberReport>([&] { return client::remove_member(*impl_->core, member); });
}

Result<NodeReport> Client::find_device(const std::string& node) {
  return impl_->core->run<NodeReport>([&] { return client::find_device(*impl_->core, node); });
}

Result<NodeReport> Client::revoke_device(const std::string& node) {
  return impl_->core->run<NodeReport>([&] { return client::revoke_device(*impl_->core, node); });
}

Result<std::string> Client::add_append_only_device(const std::string& name) {
  return impl_->core->run<std::string>([&] { return client::add_append_only_device(*impl_->core, name); });
}

Result<VolumeReport> Client::create_volume(const std::string& name, bool deduplicates) {
  return impl_->core->run<VolumeReport>([&] { return client::create_volume(*impl_->core, name, deduplicates); });
}

Result<std::vector<VolumeReport>> Client::volumes() {
  return impl_->core->run<std::vector<VolumeReport>>([&] { return client::volume_reports(*impl_->core, true); });
}

Result<VolumeReport> Client::volume(const std::string& name) {
  return impl_->core->run<VolumeReport>([&] { return client::one_volume(*impl_->core, name); });
}

Result<TransferReport> Client::put(const std::vector<std::string>& sources, const std::string& destination,
                                   const TransferOptions& options) {
  auto path = TreePath::parse(destination);
  if (!path) return fail(std::move(path.error()));
  return impl_->core->run<TransferReport>(
      [&] { return client::put_files(*impl_->core, sources, *path, means_into(destination), options); });
}

Result<TransferReport> Client::get(const std::string& source, const std::string& destination,
                                   const TransferOptions& options) {
  auto path = TreePath::parse(source);
  if (!path) return fail(std::move(path.error()));
  return impl_->core->run<TransferReport>([&] { return client::get_files(*impl_->core, *path, destination, options); });
}

Result<TransferReport> Client::put_stream(const ReadBytes& read, const std::string& destination,
                                          const TransferOptions& options) {
  auto path = TreePath::parse(destination);
  if (!path) return fail(std::move(path.error()));
  return impl_->core->run<TransferReport>([&] { return client::put_stream(*impl_->core, read, *path, options); });
}

Result<TransferReport> Client::get_stream(const std::string& source, const WriteBytes& write,
                                          const TransferOptions& options) {
  auto path = TreePath::parse(source);
  if (!path) return fail(std::move(path.error()));
  return impl_->core->run<TransferReport>([&] { return client::get_stream(*impl_->core, *path, write, options); });
}

Status Client::list(const std::string& path, bool recursive, const std::function<bool(const FileStatus&)>& visit) {
  auto parsed = TreePath::parse(path);
  if (!parsed) return fail(std::move(parsed.error()));
  return impl_->core->run<void>([&] { return client::list_folder(*impl_->core, *parsed, recursive, visit); });
}

Result<FileStatus> Client::stat(const std::string& path) {
  auto parsed = TreePath::parse(path);
  if (!parsed) return fail(std::move(parsed.error()));
  return impl_->core->run<FileStatus>([&] { return client::stat_path(*impl_->core, *parsed); });
}

Status Client::mkdir(const std::string& path, bool parents) {
  auto parsed = TreePath::parse(path);
  if (!parsed) return fail(std::move(parsed.error()));
  return impl_->core->run<void>([&] { return client::make_folder(*impl_->core, *parsed, parents); });
}

Status Client::move(const std::string& from, const std::string& to) {
  auto source = TreePath::parse(from);
  if (!source) return fail(std::move(source.error()));
  auto destination = TreePath::parse(to);
  if (!destination) return fail(std::move(destination.error()));
  return impl_->core->run<void>([&] { return client::move_path(*impl_->core, *source, *destination); });
}

Status Client::remove(const std::string& path, bool recursive) {
  auto parsed = TreePath::parse(path);
  if (!parsed) return fail(std::move(parsed.error()));
  return impl_->core->run<void>([&] { return client::remove_path(*impl_->core, *parsed, recursive); });
}

}  // namespace cairn
