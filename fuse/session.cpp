#include "fuse/session.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <fstream>

#include "fuse/beyond_libfuse.h"

namespace cairn::fuse {

namespace {

bool users_may_allow_other() {
  std::ifstream file("/etc/fuse.conf");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("user_allow_other")) return true;
  }
  return false;
}

// libfuse says only that a mount failed; the reasons that people meet can be looked for.
std::string why_not_mounted(const MountOptions& options) {
  if (::access("/dev/fuse", F_OK) != 0) return "there is no /dev/fuse: load it with `modprobe fuse`";
  if (::geteuid() != 0) {
    if (::access("/dev/fuse", R_OK | W_OK) != 0)
      return "/dev/fuse may not be used by you: `chmod 666 /dev/fuse` as root";
    if (::access(options.directory.c_str(), W_OK) != 0) return "the directory is not yours to mount on";
    if (options.allow_other && !users_may_allow_other())
      return "allow_other needs the line user_allow_other in /etc/fuse.conf: `echo user_allow_other >> /etc/fuse.conf` "
             "as root";
    if (std::system("command -v fusermount3 >/dev/null") != 0)  // NOLINT(cert-env33-c): a constant
      return "fusermount3 is missing: `apt install fuse3` as root";
  }
  return "the kernel refused it: look at the last lines of `dmesg`";
}

// Whether a signal waits for the thread that a person or the system means to end it with. A timer's or child's signal
// interrupts a request too, but no program expects stat() to fail for that.
bool wants_to_end(pid_t thread) {
  std::ifstream status(fmt::format("/proc/{}/status", thread));
  if (thread == 0 || !status) return true;  // of another namespace, or gone
  constexpr int kSignals[] = {SIGHUP, SIGINT, SIGQUIT, SIGKILL, SIGTERM};
  for (std::string line; std::getline(status, line);) {
    if (!line.starts_with("SigPnd:") && !line.starts_with("ShdPnd:")) continue;
    const uint64_t pending = std::strtoull(line.c_str() + 7, nullptr, 16);
    for (const int signal : kSignals) {
      if ((pending >> (signal - 1) & 1) != 0) return true;
    }
  }
  return false;
}

mode_t mode_of(FileType type) {
  switch (type) {
    case FileType::file:
      return S_IFREG;
    case FileType::directory:
      return S_IFDIR;
    case FileType::symlink:
      return S_IFLNK;
    case FileType::fifo:
      return S_IFIFO;
    case FileType::socket:
      return S_IFSOCK;
    case FileType::character_device:
      return S_IFCHR;
    case FileType::block_device:
      return S_IFBLK;
  }
  return S_IFREG;
}

timespec to_timespec(WallTime time) {
  constexpr int64_t kSecond = 1'000'000'000;
  int64_t seconds = time / kSecond, rest = time % kSecond;
  if (rest < 0) {
    --seconds;
    rest += kSecond;
  }
  return {.tv_sec = seconds, .tv_nsec = rest};
}

struct stat stat_of(const DriveNode& node) {
  struct stat attributes{};
  attributes.st_ino = node.inode;
  attributes.st_mode = mode_of(node.type) | node.mode;
  attributes.st_nlink = node.links;
  attributes.st_uid = node.uid;
  attributes.st_gid = node.gid;
  attributes.st_rdev = node.device;
  attributes.st_size = static_cast<off_t>(node.size);
  attributes.st_blocks = static_cast<blkcnt_t>((node.size + 511) / 512);
  attributes.st_blksize = 128 * kKiB;
  attributes.st_atim = to_timespec(node.atime);
  attributes.st_mtim = to_timespec(node.mtime);
  attributes.st_ctim = to_timespec(node.ctime);
  return attributes;
}

}  // namespace

Session::Session(Drive& drive, MountOptions options) : drive_(drive), options_(std::move(options)), owner_(geteuid()) {}

Session::~Session() {
  if (session_ == nullptr) return;
  drive_.on_change({});
  if (mounted_) {
    detach();
    wait_for(std::chrono::seconds(1));
  }
  // Nothing of this runs on the strand any more once this has.
  std::mutex mutex;
  std::condition_variable stopped;
  bool done = false;
  drive_.post([&] {
    finish();
    std::vector<Drive::Ticket> tickets = std::move(beyond_);
    for (const auto& [request, waiting] : waiting_) tickets.push_back(waiting.ticket);
    for (const Drive::Ticket ticket : tickets) drive_.interrupt(ticket);
    const std::lock_guard guard(mutex);
    done = true;
    stopped.notify_all();
  });
  {
    std::unique_lock lock(mutex);
    stopped.wait(lock, [&] { return done; });
  }
  if (mounted_) fuse_session_unmount(session_);
  notifier_.reset();
  fuse_session_destroy(session_);
  if (timer_ >= 0) ::close(timer_);
}

std::string Session::mount_arguments() const {
  std::string words = fmt::format("default_permissions,subtype=cairn,max_read={}", kMaxTransfer);
  if (options_.allow_other) words += ",allow_other";
  if (options_.read_only) words += ",ro";
  for (const std::string& option : options_.options) words += "," + option;
  std::string source;
  for (const char c : options_.source) {
    if (c == ',' || c == '\\') source += '\\';
    source += c;
  }
  return words + ",fsname=" + source;
}

Status Session::start() {
  fuse_lowlevel_ops table{};
  table.init = on_init;
  add_tree_operations(table);
  add_file_operations(table);
  std::string words[] = {"cairn", "-o", mount_arguments()};
  char* arguments[] = {words[0].data(), words[1].data(), words[2].data(), nullptr};
  fuse_args args = FUSE_ARGS_INIT(3, arguments);
  session_ = fuse_session_new(&args, &table, sizeof table, this);
  fuse_opt_free_args(&args);
  if (session_ == nullptr) return fail(Code::bad_input, "options of the mount are not understood: " + words[2]);
  if (fuse_session_mount(session_, options_.directory.c_str()) != 0) return fail(Code::io, why_not_mounted(options_));
  mounted_ = true;
  CAIRN_TRY(extend_replies(session_));
  const int descriptor = fuse_session_fd(session_);
  ::fcntl(descriptor, F_SETFL, ::fcntl(descriptor, F_GETFL) | O_NONBLOCK);
  timer_ = ::timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
  notifier_ = std::make_unique<Notifier>(session_);
  drive_.on_change([this](std::vector<DriveChange> changes) { notifier_->add(std::move(changes)); });
  drive_.watch(descriptor, [this] { return on_readable(); });
  drive_.watch(timer_, [this] { return on_timer(); });

  std::unique_lock lock(mutex_);
  if (!changed_.wait_for(lock, std::chrono::seconds(30), [&] { return serving_ || ended_; }) || ended_)
    return fail(Code::io, "the kernel does not talk to the new mount");
  lock.unlock();
  struct stat root{};
  if (::stat(options_.directory.c_str(), &root) == 0) mounted_device_ = root.st_dev;
  set_read_ahead();
  return {};
}

bool Session::wait_for(Duration duration) {
  {
    std::unique_lock lock(mutex_);
    if (changed_.wait_for(lock, duration, [&] { return ended_; })) return true;
  }
  return left_alone();
}

bool Session::left_alone() {
  if (mounted_device_ == 0 || open_ > 0) return false;
  std::ifstream table("/proc/self/mountinfo");
  const std::string device = fmt::format("{}:{}", major(mounted_device_), minor(mounted_device_));
  std::string number, parent, shown;
  for (std::string rest; table >> number >> parent >> shown && std::getline(table, rest);) {
    if (shown == device) return false;
  }
  return true;
}

void Session::detach() {
  if (::umount2(options_.directory.c_str(), MNT_DETACH) == 0 || errno != EPERM) return;
  // Not root: the helper that mounted it may.
  const pid_t child = ::fork();
  if (child == 0) {
    ::execlp("fusermount3", "fusermount3", "-uqz", "--", options_.directory.c_str(), nullptr);
    ::_exit(127);
  }
  if (child > 0) ::waitpid(child, nullptr, 0);
}

void Session::on_init(void* self, fuse_conn_info* connection) {
  auto& session = *static_cast<Session*>(self);
  // Not here: WRITEBACK_CACHE, AUTO_INVAL_DATA, SPLICE_*: see fuse/README.md.
  const unsigned wanted = FUSE_CAP_ASYNC_READ | FUSE_CAP_ASYNC_DIO | FUSE_CAP_ATOMIC_O_TRUNC | FUSE_CAP_EXPORT_SUPPORT |
                          FUSE_CAP_DONT_MASK | FUSE_CAP_READDIRPLUS | FUSE_CAP_READDIRPLUS_AUTO |
                          FUSE_CAP_PARALLEL_DIROPS | FUSE_CAP_POSIX_ACL | FUSE_CAP_CACHE_SYMLINKS |
                          FUSE_CAP_EXPLICIT_INVAL_DATA;
  connection->want = wanted & connection->capable;
  connection->max_write = kMaxTransfer;
  connection->max_read = kMaxTransfer;
  connection->max_background = kMaxBackground;
  connection->congestion_threshold = kMaxBackground * 3 / 4;
  connection->time_gran = 1;
  const std::lock_guard guard(session.mutex_);
  session.serving_ = true;
  session.changed_.notify_all();
}

// The kernel offers its default of 128 KiB at connection and takes no more; root may raise it afterwards.
void Session::set_read_ahead() const {
  struct stat root{};
  if (::stat(options_.directory.c_str(), &root) != 0) return;
  std::ofstream file(fmt::format("/sys/class/bdi/{}:{}/read_ahead_kb", major(root.st_dev), minor(root.st_dev)));
  file << kReadAhead / kKiB;
}

bool Session::on_readable() {
  for (int i = 0; i < kRequestsPerTurn; ++i) {
    if (receive_.empty() || receive_kept_) {
      // What is written begins with a page of the buffer: it can go to the disk as it is.
      const Buffer whole(kMaxTransfer + kRequestHeader);
      receive_ = whole.slice(kRequestHeader - kWriteHeader, kMaxTransfer + kWriteHeader);
      receive_kept_ = false;
    }
    const ssize_t got = ::read(fuse_session_fd(session_), receive_.data(), receive_.size());
    if (got < 0) {
      if (errno == EINTR || errno == ENOENT) continue;  // ENOENT: the request was taken back
      if (errno == EAGAIN) return true;
      finish();
      return false;
    }
    request_ = receive_.view().first(static_cast<size_t>(got));
    if (answer_beyond_libfuse(*this, request_)) continue;
    fuse_buf request{};
    request.mem = receive_.data();
    request.size = request_.size();
    fuse_session_process_buf(session_, &request);
  }
  return true;
}

void Session::finish() {
  const std::lock_guard guard(mutex_);
  ended_ = true;
  changed_.notify_all();
}

Buffer Session::keep(const char* bytes, size_t size) {
  const auto* start = reinterpret_cast<const uint8_t*>(bytes);
  if (size < kKeepBuffer) return Buffer::copy_of({start, size});
  receive_kept_ = true;
  return receive_.slice(static_cast<size_t>(start - receive_.data()), size);
}

void Session::began(fuse_req_t request, Drive::Ticket ticket) {
  if (ticket == 0) return;
  waiting_.emplace(request, Waiting{.ticket = ticket, .pid = fuse_req_ctx(request)->pid});
  fuse_req_interrupt_func(request, on_interrupt, this);
}

void Session::on_interrupt(fuse_req_t request, void* self) {
  auto& session = *static_cast<Session*>(self);
  const auto found = session.waiting_.find(request);
  if (found == session.waiting_.end()) return;
  found->second.interrupted = true;
  session.arm_timer();
}

void Session::arm_timer() {
  const itimerspec soon{.it_interval = {}, .it_value = {.tv_sec = kInterruptSeconds, .tv_nsec = 0}};
  ::timerfd_settime(timer_, 0, &soon, nullptr);
}

bool Session::on_timer() {
  uint64_t expired = 0;
  if (::read(timer_, &expired, sizeof expired) < 0 && errno != EAGAIN) return false;
  std::vector<Drive::Ticket> ending;
  bool more = false;
  for (const auto& [request, waiting] : waiting_) {
    if (!waiting.interrupted) continue;
    wants_to_end(waiting.pid) ? ending.push_back(waiting.ticket) : void(more = true);
  }
  for (const Drive::Ticket ticket : ending) drive_.interrupt(ticket);
  if (more) arm_timer();
  return true;
}

bool Session::from_owner(fuse_req_t request) const {
  const uid_t user = fuse_req_ctx(request)->uid;
  return user == 0 || user == owner_;
}

fuse_entry_param Session::entry_of(const DriveNode& node) {
  return {.ino = node.inode,
          .generation = 0,
          .attr = stat_of(node),
          .attr_timeout = kKernelCacheSeconds,
          .entry_timeout = kKernelCacheSeconds};
}

void Session::answer_attributes(fuse_req_t request, const DriveNode& node) const {
  const struct stat attributes = stat_of(node);
  fuse_reply_attr(request, &attributes, kKernelCacheSeconds);
}

void Session::answer_entry(fuse_req_t request, const DriveNode& node) const {
  const fuse_entry_param entry = entry_of(node);
  fuse_reply_entry(request, &entry);
}

}  // namespace cairn::fuse
