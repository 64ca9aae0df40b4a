#include "peer/member_log.h"

#include "peer/domains.h"
#include "peer/limits.h"
#include "peer/names.h"

namespace cairn::peer {

namespace {

constexpr uint64_t kNoEnd = UINT64_MAX;

MemberId member_of_key(std::string_view key) {
  return id_cast<MemberId>(crypto::sha256(as_bytes(key)));
}

Result<std::map<NodeId, uint64_t>> read_heights(const google::protobuf::RepeatedPtrField<wire::ChainDigest>& chains) {
  if (chains.size() > static_cast<int>(kMaxChains)) return fail(Code::corrupt, "a log entry names too many chains");
  std::map<NodeId, uint64_t> heights;
  for (const auto& chain : chains) {
    auto author = NodeId::from(chain.author());
    if (!author) return fail(Code::corrupt, "a log entry names a malformed chain");
    heights[*author] = chain.sequence();
  }
  return heights;
}

Status check_heights(const google::protobuf::RepeatedPtrField<wire::ChainDigest>& chains) {
  CAIRN_TRY(read_heights(chains));
  return {};
}

// The form of an entry's action; whether it may be is the evaluation's question.
Status check_action(const wire::LogEntry& entry) {
  switch (entry.action_case()) {
    case wire::LogEntry::kAddMember: {
      const auto& add = entry.add_member();
      if (add.member_key().size() != crypto::kPublicKeySize) return fail(Code::corrupt, "a log entry without a key");
      if (add.role() != wire::ROLE_MEMBER && add.role() != wire::ROLE_ADMIN) {
        return fail(Code::corrupt, "a log entry with an unknown role");
      }
      return check_name(add.name());
    }
    case wire::LogEntry::kRemoveMember:
      if (entry.remove_member().member().size() != MemberId::kSize) return fail(Code::corrupt, "whom to remove?");
      return check_heights(entry.remove_member().known());
    case wire::LogEntry::kRevokeDevice:
      if (entry.revoke_device().node().size() != NodeId::kSize) return fail(Code::corrupt, "which device to revoke?");
      return check_heights(entry.revoke_device().known());
    case wire::LogEntry::kSetRole: {
      const auto& set = entry.set_role();
      if (set.member().size() != MemberId::kSize) return fail(Code::corrupt, "whose role?");
      if (set.role() != wire::ROLE_MEMBER && set.role() != wire::ROLE_ADMIN) {
        return fail(Code::corrupt, "a log entry with an unknown role");
      }
      return check_heights(set.known());
    }
    case wire::LogEntry::ACTION_NOT_SET:
      break;
  }
  return fail(Code::unsupported, "a log entry that this build does not know");
}

}  // namespace

// One run over all chains; see the head of member_log.h.
struct MemberLog::Evaluation {
  // A statement that ends chains, the entry that makes it, and how far the chains still count.
  struct Ending {
    NodeId author;
    uint64_t sequence = 0;
    Heights known;
  };
  struct RoleChange {
    Ending ending;
    uint64_t version = 0;
    Role role = Role::member;
    Heights grants;
    size_t steps = 0;
  };
  struct Standing {
    Member member;
    Heights grants;    // the entries that made it an admin, and those that made its granters so
    size_t steps = 0;  // of granting, from the founder
  };

  explicit Evaluation(MemberLog& owner) : log(owner) {}

  void run() {
    for (int i = 0; i < kMaxEvaluations; ++i) {
      const bool settled = pass() && all_sources_counted();
      if (settled) return;
      drop_unfounded();
    }
    pass();  // admins who remove each other in circles: this is where it ends, for everyone alike
  }

  // How many entries of this chain count.
  uint64_t end_of(const NodeId& author, const MemberId& member) const {
    uint64_t end = kNoEnd;
    const auto apply = [&](const Ending& ending) {
      const auto known = ending.known.find(author);
      end = std::min(end, known == ending.known.end() ? 0 : known->second);
    };
    if (const auto found = removed.find(member); found != removed.end()) {
      for (const auto& ending : found->second) apply(ending);
    }
    if (const auto found = revoked.find(author); found != revoked.end()) {
      for (const auto& ending : found->second) apply(ending);
    }
    if (const RoleChange* change = role_change(member); change && change->role == Role::member) apply(change->ending);
    return end;
  }

  const RoleChange* role_change(const MemberId& member) const {
    const auto found = roles.find(member);
    if (found == roles.end()) return nullptr;
    const RoleChange* best = nullptr;
    for (const auto& change : found->second) {
      const bool wins = !best || change.version > best->version ||
                        (change.version == best->version && change.role == Role::member && best->role == Role::admin);
      if (wins) best = &change;
    }
    return best;
  }

  // False when an entry that was already counted turned out not to count.
  bool pass() {
    standings.clear();
    counted.clear();
    order.clear();
    todo.clear();
    standings[log.founder_.id] = Standing{log.founder_, {}, 0};
    settle_role(standings[log.founder_.id]);
    std::set<MemberId> done;
    while (!todo.empty()) {
      const MemberId admin = todo.begin()->second;
      todo.erase(todo.begin());
      if (!done.insert(admin).second) continue;
      for (const auto& [author, chain] : log.chains_) {
        if (chain.member != admin) continue;
        order.push_back(author);
        for (uint64_t i = 0; i < chain.entries.size() && i < end_of(author, admin); ++i) {
          counted[author] = i + 1;
          if (!apply(author, chain.member, i + 1, chain.entries[i].body)) return false;
        }
      }
    }
    return true;
  }

  // A member's role after all that is known of it; admins are queued.
  void settle_role(Standing& standing) {
    if (const RoleChange* change = role_change(standing.member.id)) {
      standing.member.role = change->role;
      if (change->role == Role::admin) {
        standing.grants = change->grants;
        standing.steps = change->steps;
      }
    }
    if (standing.member.role == Role::admin) todo.emplace(standing.steps, standing.member.id);
  }

  bool apply(const NodeId& author, const MemberId& by, uint64_t sequence, const wire::LogEntry& entry) {
    const Standing& granter = standings.at(by);
    Heights grants = granter.grants;
    grants[author] = std::max(grants[author], sequence);
    const auto ending = [&](const google::protobuf::RepeatedPtrField<wire::ChainDigest>& chains) {
      Heights known = read_heights(chains).value_or(Heights{});
      for (const auto& [chain, least] : grants) known[chain] = std::max(known[chain], least);
      return Ending{author, sequence, std::move(known)};
    };
    const size_t steps = granter.steps + 1;
    switch (entry.action_case()) {
      case wire::LogEntry::kAddMember: {
        const auto& add = entry.add_member();
        const MemberId id = member_of_key(add.member_key());
        if (standings.contains(id)) return true;
        Standing& made = standings[id];
        made.member = Member{.id = id,
                             .key = to_bytes(add.member_key()),
                             .name = add.name(),
                             .role = add.role() == wire::ROLE_ADMIN ? Role::admin : Role::member,
                             .removed = false};
        made.grants = std::move(grants);
        made.steps = steps;
        settle_role(made);
        return true;
      }
      case wire::LogEntry::kRemoveMember: {
        const MemberId id = *MemberId::from(entry.remove_member().member());
        return note(removed[id], ending(entry.remove_member().known())) ? still_counts() : true;
      }
      case wire::LogEntry::kRevokeDevice: {
        const NodeId id = *NodeId::from(entry.revoke_device().node());
        return note(revoked[id], ending(entry.revoke_device().known())) ? still_counts() : true;
      }
      case wire::LogEntry::kSetRole: {
        const auto& set = entry.set_role();
        const MemberId id = *MemberId::from(set.member());
        for (const auto& change : roles[id]) {
          if (change.ending.author == author && change.ending.sequence == sequence) return true;
        }
        roles[id].push_back({.ending = ending(set.known()),
                             .version = set.version(),
                             .role = set.role() == wire::ROLE_ADMIN ? Role::admin : Role::member,
                             .grants = std::move(grants),
                             .steps = steps});
        if (const auto found = standings.find(id); found != standings.end()) settle_role(found->second);
        return still_counts();
      }
      case wire::LogEntry::ACTION_NOT_SET:
        break;
    }
    return true;
  }

  static bool note(std::vector<Ending>& endings, Ending ending) {
    for (const auto& known : endings) {
      if (known.author == ending.author && known.sequence == ending.sequence) return false;
    }
    endings.push_back(std::move(ending));
    return true;
  }

  bool still_counts() const {
    return std::ranges::all_of(counted, [&](const auto& count) {
      return count.second <= end_of(count.first, log.chains_.at(count.first).member);
    });
  }

  template <class Test>
  void drop_endings(Test unfounded) {
    for (auto& [id, endings] : removed) std::erase_if(endings, unfounded);
    for (auto& [id, endings] : revoked) std::erase_if(endings, unfounded);
    for (auto& [id, changes] : roles) {
      std::erase_if(changes, [&](const RoleChange& change) { return unfounded(change.ending); });
    }
  }
  // Statements by entries that do not count any more.
  void drop_unfounded() {
    const Evaluation before = *this;
    drop_endings([&](const Ending& ending) {
      return ending.sequence > before.end_of(ending.author, log.chains_.at(ending.author).member);
    });
  }
  // After a whole pass: every statement was really made by an entry that counts.
  bool all_sources_counted() {
    bool all = true;
    drop_endings([&](const Ending& ending) {
      const auto count = counted.find(ending.author);
      const bool unfounded = count == counted.end() || count->second < ending.sequence;
      if (unfounded) all = false;
      return unfounded;
    });
    return all;
  }

  MemberLog& log;
  std::map<MemberId, std::vector<Ending>> removed;
  std::map<NodeId, std::vector<Ending>> revoked;
  std::map<MemberId, std::vector<RoleChange>> roles;
  std::map<MemberId, Standing> standings;
  Heights counted;
  std::vector<NodeId> order;
  std::set<std::pair<size_t, MemberId>> todo;
};

MemberLog::MemberLog(const PoolId& pool, ByteView founder_key, std::string founder_name) : pool_(pool) {
  founder_ = Member{.id = member_of_key(as_text(founder_key)),
                    .key = to_bytes(founder_key),
                    .name = std::move(founder_name),
                    .role = Role::admin,
                    .removed = false};
  members_[founder_.id] = founder_;
}

const Member* MemberLog::member(const MemberId& id) const {
  const auto found = members_.find(id);
  return found == members_.end() ? nullptr : &found->second;
}

Result<bool> MemberLog::append(const wire::LogRecord& record) {
  auto body = wire::decode<wire::LogEntry>(record.entry().body());
  if (!body) return fail(std::move(body.error()), "log entry");
  if (body->version() != 1) return fail(Code::unsupported, "a log entry of another version");
  if (body->pool() != pool_.raw()) return fail(Code::denied, "a log entry of another pool");
  auto author = NodeId::from(body->author());
  if (!author) return fail(Code::corrupt, "a log entry without an author");

  const auto found = chains_.find(*author);
  const uint64_t height = found == chains_.end() ? 0 : found->second.entries.size();
  const Hash hash = crypto::sha256(as_bytes(record.entry().body()));
  if (body->sequence() >= 1 && body->sequence() <= height) {
    if (found->second.entries[body->sequence() - 1].hash == hash) return false;
    return fail(Code::corrupt, "a second entry at the same place of a log chain");
  }
  if (body->sequence() != height + 1) return fail(Code::conflict, "a log entry that does not follow the last one");
  const std::string previous = height == 0 ? pool_.raw() : found->second.entries.back().hash.raw();
  if (body->previous() != previous) return fail(Code::corrupt, "a log entry that names another one before it");
  if (height >= kMaxChainLength || (height == 0 && chains_.size() >= kMaxChains)) {
    return fail(Code::too_large, "the member log is full");
  }
  CAIRN_TRY(check_action(*body));

  auto certificate = Certificate::parse(record.certificate());
  if (!certificate) return fail(std::move(certificate.error()));
  if (certificate->pool != pool_) return fail(Code::denied, "a log entry by a device of another pool");
  if (certificate->append_only) return fail(Code::denied, "a log entry by a device that may only add snapshots");
  if (certificate->node != *author || as_text(certificate->device_key) != record.entry().public_key()) {
    return fail(Code::corrupt, "a log entry that its author did not sign");
  }
  if (height > 0 && found->second.member != certificate->member) {
    return fail(Code::denied, "a log chain changes its member");
  }
  CAIRN_TRY(check_signed(record.entry(), kDomainLog));

  Chain& chain = chains_[*author];
  chain.member = certificate->member;
  chain.entries.push_back(Entry{record, std::move(*body), hash});
  return true;
}

bool MemberLog::apply_quickly(const Chain& chain, const wire::LogEntry& entry) {
  if (entry.action_case() != wire::LogEntry::kAddMember || entry.add_member().role() != wire::ROLE_MEMBER) return false;
  const auto author = NodeId::from(entry.author());
  if (std::ranges::find(order_, *author) == order_.end()) return false;
  const Member* by = member(chain.member);
  if (!by || by->removed || by->role != Role::admin || revoked_.contains(*author)) return false;
  const MemberId id = member_of_key(entry.add_member().member_key());
  if (members_.contains(id) || pending_.contains(id)) return false;
  members_[id] = Member{.id = id,
                        .key = to_bytes(entry.add_member().member_key()),
                        .name = entry.add_member().name(),
                        .role = Role::member,
                        .removed = false};
  return true;
}

Result<bool> MemberLog::add(const wire::LogRecord& record) {
  auto added = append(record);
  if (!added || !*added) return added;
  const NodeId author = *NodeId::from(wire::decode<wire::LogEntry>(record.entry().body())->author());
  const uint64_t height = chains_.at(author).entries.size();
  const Chain& chain = chains_.at(author);
  if (apply_quickly(chain, chain.entries.back().body)) return true;
  evaluate();
  if (this->height(author) < height) return fail(Code::denied, "a log entry by a device that may not write any");
  return true;
}

size_t MemberLog::add_all(std::vector<wire::LogRecord> records) {
  std::map<NodeId, uint64_t> before;
  for (const auto& [author, chain] : chains_) before[author] = chain.entries.size();
  // Entries of one chain may come in any order: go on until nothing more fits.
  std::vector<const wire::LogRecord*> left;
  left.reserve(records.size());
  for (const auto& record : records) left.push_back(&record);
  for (bool progress = true; progress && !left.empty();) {
    progress = false;
    std::erase_if(left, [&](const wire::LogRecord* record) {
      const auto added = append(*record);
      if (added && *added) progress = true;
      return added.has_value() || added.error().code != Code::conflict;
    });
  }
  evaluate();
  size_t news = 0;
  for (const auto& [author, chain] : chains_)
    news += chain.entries.size() - std::min<size_t>(before[author], chain.entries.size());
  return news;
}

void MemberLog::evaluate() {
  Evaluation evaluation(*this);
  evaluation.run();
  for (auto it = chains_.begin(); it != chains_.end();) {
    const auto counted = evaluation.counted.find(it->first);
    const uint64_t keep = counted == evaluation.counted.end() ? 0 : counted->second;
    if (it->second.entries.size() > keep) it->second.entries.resize(keep);
    it = keep == 0 ? chains_.erase(it) : std::next(it);
  }
  order_.clear();
  for (const NodeId& author : evaluation.order) {
    if (chains_.contains(author)) order_.push_back(author);
  }
  members_.clear();
  revoked_.clear();
  role_versions_.clear();
  pending_.clear();
  for (const auto& [node, endings] : evaluation.revoked) {
    if (!endings.empty()) revoked_.insert(node);
  }
  for (auto& [id, standing] : evaluation.standings) members_[id] = std::move(standing.member);
  for (const auto& [id, endings] : evaluation.removed) {
    if (endings.empty()) continue;
    if (const auto found = members_.find(id); found != members_.end()) {
      found->second.removed = true;
    } else {
      pending_.insert(id);
    }
  }
  for (const auto& [id, changes] : evaluation.roles) {
    for (const auto& change : changes) role_versions_[id] = std::max(role_versions_[id], change.version);
    if (!members_.contains(id)) pending_.insert(id);
  }
}

Result<wire::LogRecord> MemberLog::prepare(const Identity& author, WallTime now, wire::LogEntry action) const {
  const Member* self = member(author.member.id());
  if (!self || self->removed || self->role != Role::admin || revoked(author.node)) {
    return fail(Code::denied, "only an admin can change who is in the pool");
  }
  const auto end_chains = [&](auto* known, auto concerned) {
    for (const auto& [node, chain] : chains_) {
      if (!concerned(node, chain)) continue;
      auto* digest = known->Add();
      digest->set_author(node.raw());
      digest->set_sequence(chain.entries.size());
    }
  };
  const auto another_admin = [&](const MemberId& leaving) {
    return std::ranges::any_of(members_, [&](const auto& entry) {
      return entry.first != leaving && !entry.second.removed && entry.second.role == Role::admin;
    });
  };
  const auto target = [&](const std::string& raw) -> Result<const Member*> {
    auto id = MemberId::from(raw);
    if (!id) return fail(id.error());
    const Member* found = member(*id);
    if (!found || found->removed) return fail(Code::not_found, "no such member");
    return found;
  };
  switch (action.action_case()) {
    case wire::LogEntry::kRemoveMember: {
      const auto member = target(action.remove_member().member());
      if (!member) return fail(member.error());
      if (!another_admin((*member)->id)) return fail(Code::bad_input, "the pool would have no admin left");
      action.mutable_remove_member()->clear_known();
      end_chains(action.mutable_remove_member()->mutable_known(),
                 [&](const NodeId&, const Chain& chain) { return chain.member == (*member)->id; });
      break;
    }
    case wire::LogEntry::kRevokeDevice: {
      auto node = NodeId::from(action.revoke_device().node());
      if (!node) return fail(node.error());
      action.mutable_revoke_device()->clear_known();
      end_chains(action.mutable_revoke_device()->mutable_known(),
                 [&](const NodeId& id, const Chain&) { return id == *node; });
      break;
    }
    case wire::LogEntry::kSetRole: {
      const auto member = target(action.set_role().member());
      if (!member) return fail(member.error());
      auto* set = action.mutable_set_role();
      const auto version = role_versions_.find((*member)->id);
      set->set_version((version == role_versions_.end() ? 0 : version->second) + 1);
      set->clear_known();
      if (set->role() != wire::ROLE_ADMIN) {
        if (!another_admin((*member)->id)) return fail(Code::bad_input, "the pool would have no admin left");
        end_chains(set->mutable_known(),
                   [&](const NodeId&, const Chain& chain) { return chain.member == (*member)->id; });
      }
      break;
    }
    default:
      break;
  }
  action.set_version(1);
  action.set_pool(pool_.raw());
  action.set_author(author.node.raw());
  const uint64_t height = this->height(author.node);
  action.set_sequence(height + 1);
  action.set_previous(height == 0 ? pool_.raw() : chains_.at(author.node).entries.back().hash.raw());
  action.set_created(now);
  CAIRN_TRY(check_action(action));

  wire::LogRecord record;
  *record.mutable_entry() = make_signed(author.device, kDomainLog, wire::encode(action));
  CAIRN_TRY(wire::decode_into(*record.mutable_certificate(), author.certificate.encoded));
  return record;
}

std::vector<wire::LogRecord> MemberLog::records() const {
  std::vector<wire::LogRecord> records;
  for (const NodeId& author : order_) {
    for (const auto& entry : chains_.at(author).entries) records.push_back(entry.record);
  }
  return records;
}

std::vector<std::pair<NodeId, uint64_t>> MemberLog::heights() const {
  std::vector<std::pair<NodeId, uint64_t>> heights;
  heights.reserve(order_.size());
  for (const NodeId& author : order_) heights.emplace_back(author, chains_.at(author).entries.size());
  return heights;
}

uint64_t MemberLog::height(const NodeId& author) const {
  const auto found = chains_.find(author);
  return found == chains_.end() ? 0 : found->second.entries.size();
}

const wire::LogRecord& MemberLog::record(const NodeId& author, uint64_t sequence) const {
  return chains_.at(author).entries.at(sequence - 1).record;
}

}  // namespace cairn::peer
