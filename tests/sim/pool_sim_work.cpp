// What the clients of a simulated pool do, and what must be true of it.

#include "sim/pool_sim_impl.h"
#include "volume/collect.h"

namespace cairn::sim::pool_simulation {

Bytes PoolSim::bytes_of(Content content) const {
  Bytes bytes(content.size);
  env::Prng(content.seed).fill(bytes);
  for (size_t at = 0; at + kMarkerSize <= bytes.size(); at += 256) {
    std::memcpy(bytes.data() + at, marker_.data(), kMarkerSize);
  }
  return bytes;
}

Task<void> PoolSim::act(PoolSim& self, size_t index, ClientMachine& me) {
  env::Clock& clock = me.node().clock();
  for (;;) {
    auto opened = co_await me.open(self.founding_, self.key_, &self.log_);
    if (opened) break;
    self.not_corrupt("open", opened.error());
    if (self.over_) co_return;
    co_await env::sleep_for(clock, seconds(1));
  }
  while (!self.over_) {
    const uint64_t what = self.prng_.below(100);
    if (what < 50) {
      co_await self.put(index, me);
    } else if (what < 60) {
      co_await self.remove(index, me);
    } else if (what < 65) {
      co_await self.collect(me, seconds(40));
    } else {
      co_await self.get(me);
    }
    // What 24 holders of a pack have to tell each other is many times what 8 have.
    const int64_t pace = self.setup_.code ? 1 : 8;
    co_await env::sleep_for(clock, milliseconds(pace * static_cast<int64_t>(self.prng_.between(50, 4000))));
  }
}

void PoolSim::not_corrupt(const char* what, const Error& error) {
  // A keeper that equivocates may bring two heads about; who has seen the one refuses the other.
  if (equivocator_ && error.code == Code::corrupt) {
    ++result_.forks_noticed;
    return;
  }
  if (error.code == Code::corrupt || error.code == Code::bad_input || error.code == Code::exists)
    failure(fmt::format("{}: {}", what, to_string(error)));
}

// --- heads ---

// What a machine has read or written is in one chain with what all have, and it never goes back.
void PoolSim::saw_head(size_t machine, uint64_t sequence, const Hash& hash, uint64_t at_least) {
  if (sequence == 0) return;
  auto& own = seen_[machine];
  if (sequence < own.first || (sequence == own.first && hash != own.second))
    failure(fmt::format("c{} went back from head {} to head {}", machine, own.first, sequence));
  own = {sequence, hash};
  if (equivocator_) return;
  if (sequence < at_least)
    failure(fmt::format("c{} read head {} after somebody had seen head {}", machine, sequence, at_least));
  const auto [known, fresh] = heads_.try_emplace(sequence, hash);
  if (known->second != hash) failure(fmt::format("there are two heads {}", sequence));
  highest_ = std::max(highest_, sequence);
}

// --- edits ---

Task<void> PoolSim::put(size_t index, ClientMachine& me) {
  ++result_.puts;
  std::map<std::string, size_t> versions;
  std::map<std::string, Content> files;
  for (size_t i = prng_.between(1, 4); i > 0; --i) {
    uint64_t number = next_name_[index];
    if (number > 0 && prng_.chance(0.25)) {
      number = prng_.below(number);
    } else {
      ++next_name_[index];
    }
    const uint64_t largest = prng_.chance(0.15) ? 300'000 : 12'000;
    files[fmt::format("/client{}/secretname{}", index, number)] = {prng_.next(), prng_.below(largest + 1)};
  }
  auto transaction = me.volume().begin();
  if (!transaction) {
    failure("begin: " + to_string(transaction.error()));
    co_return;
  }
  Status done;
  for (const auto& [path, content] : files) {
    versions[path] = paths_[path].add(content);
    if (done) done = co_await put_file(**transaction, path, content);
  }
  done = co_await commit(me, **transaction, std::move(done), std::move(versions));
  if (done) {
    result_.files_acknowledged += files.size();
  } else {
    ++result_.puts_failed;
    not_corrupt("put", done.error());
  }
}

Task<Status> PoolSim::commit(ClientMachine& me, volume::Transaction& transaction, Status done,
                             std::map<std::string, size_t> versions) {
  if (!done) co_return done;
  auto committed = co_await transaction.commit();
  if (!committed) co_return fail(std::move(committed.error()));
  for (const auto& [path, version] : versions) paths_[path].seen(version);
  const volume::HeadInfo head = me.volume().head();
  saw_head(machine_of_client(me), head.sequence, head.hash, committed->sequence);
  co_return Status{};
}

Task<Status> PoolSim::put_file(volume::Transaction& transaction, std::string path, Content content) {
  const size_t slash = path.rfind('/');
  auto parent = co_await transaction.make_directories(path.substr(0, slash), {.mode = 0755});
  if (!parent) co_return fail(std::move(parent.error()), "make_directories");
  auto there = co_await transaction.view().lookup(*parent, path.substr(slash + 1));
  volume::InodeId inode = 0;
  if (there) {
    inode = there->inode;
  } else if (there.error().code == Code::not_found) {
    auto made = co_await transaction.make_file(*parent, path.substr(slash + 1), {});
    if (!made) co_return fail(std::move(made.error()), "make_file");
    inode = *made;
  } else {
    co_return fail(std::move(there.error()), "lookup");
  }
  auto writer = co_await transaction.write_file(inode);
  if (!writer) co_return fail(std::move(writer.error()), "write_file");
  const Bytes bytes = bytes_of(content);
  auto written = co_await (*writer)->write(Buffer::copy_of(bytes));
  if (!written) co_return fail(std::move(written.error()), "write");
  auto finished = co_await (*writer)->finish();
  if (!finished) co_return fail(std::move(finished.error()), "finish");
  co_return Status{};
}

Task<void> PoolSim::remove(size_t index, ClientMachine& me) {
  const std::string folder = fmt::format("/client{}", index);
  std::map<std::string, size_t> versions;
  auto transaction = me.volume().begin();
  if (!transaction) co_return;
  auto there = co_await (*transaction)->view().resolve(folder);
  if (!there) co_return;
  auto list = co_await (*transaction)->view().list(there->id, "", SIZE_MAX);
  if (!list) co_return;
  ++result_.removals;
  Status done;
  for (const auto& entry : *list) {
    if (!done || !prng_.chance(0.5)) continue;
    versions[folder + "/" + entry.name] = paths_[folder + "/" + entry.name].add(std::nullopt);
    done = co_await (*transaction)->unlink(there->id, entry.name);
  }
  done = co_await commit(me, **transaction, std::move(done), std::move(versions));
  if (!done) not_corrupt("remove", done.error());
}

Task<Status> PoolSim::collect(ClientMachine& me, Duration orphan_grace) {
  last_commits_ = 1;
  if (equivocator_) co_return Status{};  // what one head buries the other may need
  auto report = co_await volume::collect_garbage(
      me.volume().host(),
      {.max_unused_share = 0.05, .orphan_grace = orphan_grace, .ask_holders = over_ || prng_.chance(0.3)});
  if (!report) {
    not_corrupt("collect", report.error());
    co_return fail(std::move(report.error()));
  }
  ++result_.collections;
  last_commits_ = report->commits;
  result_.packs_buried += report->dead_packs + report->orphans_buried;
  const volume::HeadInfo head = me.volume().head();
  saw_head(machine_of_client(me), head.sequence, head.hash, 0);
  co_return Status{};
}

// --- reads ---

Task<void> PoolSim::get(ClientMachine& me) {
  if (paths_.empty()) co_return;
  ++result_.gets;
  const auto chosen = std::next(paths_.begin(), static_cast<ptrdiff_t>(prng_.below(paths_.size())));
  const std::string path = chosen->first;
  // What somebody has seen by now must be seen by a head that is read from now on.
  const size_t floor = chosen->second.floor;
  const uint64_t highest = highest_;
  auto fresh = co_await me.volume().refresh();
  if (!fresh) {
    ++result_.gets_failed;
    not_corrupt("refresh", fresh.error());
    if (fresh.error().code == Code::damaged && !equivocator_) failure("refresh: " + to_string(fresh.error()));
    co_return;
  }
  const volume::HeadInfo head = me.volume().head();
  saw_head(machine_of_client(me), head.sequence, head.hash, highest);
  auto read = co_await check(me.volume().view(), path, floor);
  if (!read) ++result_.gets_failed;
}

Task<Status> PoolSim::check(volume::View view, std::string path, size_t floor) {
  auto found = co_await view.resolve(path);
  std::optional<Bytes> bytes;
  if (found) {
    auto read = co_await view.read(found->id, 0, found->inode.size);
    if (!read) {
      not_corrupt("read", read.error());
      co_return fail(std::move(read.error()));
    }
    bytes = std::move(*read);
  } else if (found.error().code != Code::not_found) {
    not_corrupt("resolve", found.error());
    co_return fail(std::move(found.error()));
  }
  Path& about = paths_[path];
  std::optional<size_t> before;
  for (size_t version = 0; version < about.versions.size(); ++version) {
    const auto& content = about.versions[version];
    const bool same = content ? bytes && content->size == bytes->size() && bytes_of(*content) == *bytes : !bytes;
    if (!same) continue;
    if (version >= floor || equivocator_) {
      about.seen(version);
      co_return Status{};
    }
    before = version;
  }
  if (before) {
    failure(fmt::format("{} went back to version {}: version {} was seen before", path, *before, floor));
  } else if (bytes) {
    failure(fmt::format("{} has wrong bytes", path));
  } else {
    failure(fmt::format("{} is not there", path));
  }
  co_return Status{};
}

}  // namespace cairn::sim::pool_simulation
