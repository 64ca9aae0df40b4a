#include "volume/volume_impl.h"

#include "base/text.h"
#include "volume/tree_pack.h"

namespace cairn::volume {

namespace {

constexpr Duration kConflictPause = std::chrono::milliseconds(10);
// Reading back a commit whose fate is unknown.
constexpr int kReadBackTries = 5;
constexpr Duration kReadBackPause = std::chrono::milliseconds(200);

}  // namespace

std::string VolumeImpl::conflict_suffix(const Head& theirs) const {
  const NodeId& writer = theirs.state.writer;
  std::string node = options_.name_of_node ? options_.name_of_node(writer) : writer.short_hex();
  for (char& c : node) {
    if (c == '/' || c == '\0') c = '_';
  }
  std::string date = format_time(theirs.state.written);  // 2026-11-23T09:15:00Z
  date = date.substr(0, 19);
  for (char& c : date) c = c == 'T' ? ' ' : c == ':' ? '-' : c;
  return " (conflict from " + node.substr(0, 64) + " " + date + ")";
}

env::Task<Result<RegisterState>> VolumeImpl::swap(HeadPtr before, Parts parts, BeforeSwap before_swap) {
  auto named = packs_named_by(parts.edits);
  if (!named) co_return fail(std::move(named.error()));
  if (parts.also != nullptr) named->insert(parts.also->begin(), parts.also->end());
  auto taken_back = co_await secure_packs(tree_, packs_, before, std::move(*named), parts.packs);
  if (!taken_back) co_return fail(std::move(taken_back.error()));
  EditMap with;
  // `before` may have been read before the force.
  const RegisterState& now = head_->state;
  const bool forced = now.era() != 0 && before->state.sequence == now.forced.back().sequence;
  if (!taken_back->empty() || forced) with = parts.edits;
  for (auto& [key, value] : *taken_back) with.insert_or_assign(key, std::move(value));
  if (forced) {  // so that branches that are found later can be merged
    const std::string name = fork_base_name(now.era());
    with.insert_or_assign(snapshot_key(name),
                          encode_snapshot({.info = {.name = name, .created = world_.clock.wall_now(), .details = {}},
                                           .root = before->root,
                                           .tree_packs = before->tree_packs}));
  }
  const EditMap& edits = with.empty() ? parts.edits : with;
  std::vector<EditView> list;
  list.reserve(edits.size() + parts.packs.size() + before->tree_packs.size());
  EditMap records;
  for (const std::vector<pool::PackRef>* group : {&parts.packs, &before->tree_packs}) {
    for (const pool::PackRef& pack : *group) records.insert_or_assign(pack_key(pack.id), encode_pack_ref(pack));
  }
  auto record = records.begin();
  const auto take_records = [&](const std::string* upper) {
    for (; record != records.end() && (upper == nullptr || record->first < *upper); ++record) {
      list.push_back(edit_of(record->first, record->second));
    }
  };
  for (const auto& [key, value] : edits) {
    take_records(&key);
    if (record != records.end() && record->first == key) ++record;
    list.push_back(edit_of(key, value));
  }
  take_records(nullptr);

  TreePacks sink(world_, packs_, keys_, writer_, before->state.sequence, options_.compression_level);
  auto root = co_await tree_.apply(before->root, std::move(list), sink);
  if (!root) co_return fail(std::move(root.error()));
  CAIRN_CO_TRY(co_await sink.finish());
  packs_written_ += sink.packs().size();
  Head next;
  if (*root) next.root = sink.resolve(**root);
  next.tree_packs = sink.packs();
  const auto add = [](uint64_t value, int64_t change) {
    return change < 0 && value < static_cast<uint64_t>(-change) ? 0 : value + static_cast<uint64_t>(change);
  };
  next.files = add(before->files, parts.files);
  next.bytes = add(before->bytes, parts.bytes);
  Bytes content = seal_head(next, keys_, world_.random);
  if (before_swap) {
    next.state.sequence = before->state.sequence + 1;
    next.state.content = content;
    CAIRN_CO_TRY(co_await before_swap(std::make_shared<Head>(std::move(next))));
  }
  RegisterState expected = before->state;
  expected.settled = !options_.append_only && (retained_ == 0 || settled_ == expected.hash);
  auto written = co_await register_.write(std::move(expected), std::move(content));
  if (written) {
    for (TreePacks::Fresh& node : sink.take_fresh()) cache_.add(node.ref, std::move(node.plain));
  }
  co_return written;
}

env::Task<Result<bool>> VolumeImpl::try_commit(Parts parts) {
  const uint64_t sequence = head_->state.sequence + 1;
  auto written = co_await swap(head_, parts, {});
  if (written) {
    CAIRN_CO_TRY(co_await adopt(std::move(*written)));
    co_return true;
  }
  if (written.error().code == Code::conflict) {
    CAIRN_CO_TRY(co_await read_head());
    co_return false;
  }
  if (written.error().code != Code::unknown_outcome) co_return fail(std::move(written.error()));
  uncertain_ = sequence;
  uncertain_values_ = register_.attempted();
  auto chosen = co_await read_back(sequence, std::move(written.error()));
  co_return chosen;
}

env::Task<Result<bool>> VolumeImpl::read_back(uint64_t sequence, Error why) {
  for (int i = 0; i < kReadBackTries; ++i) {
    if (i > 0) co_await env::sleep_for(world_.clock, kReadBackPause * (1 << i));
    auto state = co_await register_.read();
    if (!state) {
      why.context = state.error().context;
      continue;
    }
    bool chosen = false;
    for (const Hash& hash : uncertain_values_)
      chosen = chosen || chain_contains(*state, sequence, hash).value_or(false);
    CAIRN_CO_TRY(co_await adopt(std::move(*state)));
    uncertain_.reset();
    co_return chosen;
  }
  co_return fail(Code::unknown_outcome, "the commit may be in the pool or not: " + why.context);
}

env::Task<Result<HeadPtr>> VolumeImpl::commit_upon(CommitRequest request, BeforeSwap before) {
  const auto turn = co_await turn_.acquire();
  const RegisterState& base = request.base->state;
  if (base.sequence != head_->state.sequence || base.hash != head_->state.hash) co_return fail(Code::conflict);
  packs_written_ += request.packs.size();
  const Parts parts{*request.edits, request.packs, request.files, request.bytes};
  auto written = co_await swap(request.base, parts, std::move(before));
  if (!written) {
    if (written.error().code == Code::conflict) CAIRN_CO_TRY(co_await read_head());
    co_return fail(std::move(written.error()));
  }
  CAIRN_CO_TRY(co_await adopt(std::move(*written)));
  ++commits_;
  co_return head_;
}

env::Task<void> VolumeImpl::stand_back(env::Prng& prng, int tried) {
  const auto pause = kConflictPause * static_cast<int64_t>(1 + prng.below(1ULL << std::min(tried, 7)));
  co_await env::sleep_for(world_.clock, pause);
}

env::Task<Result<Committed>> VolumeImpl::commit(CommitRequest request) {
  const auto turn = co_await turn_.acquire();
  Committed done;
  packs_written_ += request.packs.size();
  if (uncertain_) {
    auto chosen = co_await read_back(*uncertain_, {Code::unknown_outcome, ""});
    if (!chosen) co_return fail(std::move(chosen.error()));
    // Merging edits that are there already changes nothing, so it need not be known whose they were.
  }
  env::Prng prng(world_.random.u64());
  for (int i = 0; i < kCommitTries; ++i) {
    if (i > 0) co_await stand_back(prng, i);
    const bool moved = head_->state.sequence != request.base->state.sequence;
    if (request.edits->empty() && request.packs.empty()) {
      done.head = head_;
      done.outcome.sequence = head_->state.sequence;
      done.outcome.hash = head_->state.hash;
      co_return done;
    }
    MergeResult merged;
    if (moved) {
      auto result = co_await merge_upon(request.base, head_, request.edits);
      if (!result) co_return fail(std::move(result.error()));
      merged = std::move(*result);
    }
    auto chosen = co_await try_commit({moved ? merged.edits : *request.edits, request.packs,
                                       request.files + merged.files, request.bytes + merged.bytes});
    if (!chosen) co_return fail(std::move(chosen.error()));
    if (!*chosen) continue;
    ++commits_;
    done.head = head_;
    done.outcome.sequence = head_->state.sequence;
    done.outcome.hash = head_->state.hash;
    done.outcome.conflicts = merged.conflict_names.size();
    done.outcome.conflict_names = std::move(merged.conflict_names);
    co_return done;
  }
  co_return fail(Code::conflict, "other writers were always first; try again");
}

env::Task<Result<std::unique_ptr<Volume>>> Volume::open(env::World world, PackIo& packs, HeadRegister& head,
                                                        content::VolumeKeys keys, crypto::PrivateKey writer,
                                                        VolumeOptions options) {
  auto volume = std::make_unique<VolumeImpl>(world, packs, head, keys, std::move(writer), std::move(options));
  CAIRN_CO_TRY(co_await volume->start());
  co_return volume;
}

}  // namespace cairn::volume
