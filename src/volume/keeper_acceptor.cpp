#include "volume/keeper_acceptor.h"

#include <algorithm>

#include "volume/register_limits.h"

namespace cairn::volume {

namespace {

constexpr std::string_view kInstanceKey = "instance";

std::string state_key(const RegisterId& id) {
  return "r" + id.raw();
}
std::string origin_key(const RegisterId& id) {
  return "o" + id.raw();
}
std::string retained_prefix(const RegisterId& id) {
  return "h" + id.raw();
}

std::string strays_key(const RegisterId& id) {
  return "s" + id.raw();
}

std::string superseded_key(const RegisterId& id) {
  return "f" + id.raw();
}

}  // namespace

Acceptor::Acceptor(std::unique_ptr<env::MetaStore> store, const peer::Identity& identity, AcceptorFaults faults)
    : store_(std::move(store)), node_(identity.node), pool_(identity.pool), device_(identity.device), faults_(faults) {}

Result<std::unique_ptr<Acceptor>> Acceptor::open(std::unique_ptr<env::MetaStore> store, const peer::Identity& identity,
                                                 env::SecureRandom& random, AcceptorFaults faults) {
  std::unique_ptr<Acceptor> acceptor(new Acceptor(std::move(store), identity, faults));
  auto kept = acceptor->store_->get(kInstanceKey);
  if (!kept) return fail(std::move(kept.error()));
  KeeperInstance& instance = acceptor->instance_;
  if (*kept) {
    if ((*kept)->size() != instance.size()) return fail(Code::corrupt, "the keeper's instance");
    std::ranges::copy(as_bytes(**kept), instance.begin());
  } else {
    random.fill(instance);
    env::WriteBatch batch;
    batch.put(kInstanceKey, as_text(instance));
    CAIRN_TRY(acceptor->store_->write(batch, true));
  }
  CAIRN_TRY(acceptor->load_registers());
  return acceptor;
}

Status Acceptor::load_registers() {
  auto cursor = store_->cursor();
  for (cursor->seek("r"); cursor->valid() && cursor->key().starts_with('r'); cursor->next()) {
    auto message = wire::decode<wire::KeeperState>(as_bytes(cursor->value()));
    if (!message) return fail(std::move(message.error()), "keeper state");
    auto founding = parse_founding(as_bytes(message->founding()));
    if (!founding) return fail(std::move(founding.error()), "keeper state");
    ++registers_[founding->owner];
  }
  return cursor->status();
}

Result<Founding> Acceptor::check_request(ByteView founding_bytes, const Requester& from) const {
  if (broken_) return fail(Code::io, "this keeper's disk failed");
  auto founding = parse_founding(founding_bytes);
  if (!founding) return founding;
  if (founding->pool != pool_) return fail(Code::denied, "a register of another pool");
  if (founding->owner != from.member) return fail(Code::denied, "only the owner's devices may use a register");
  if (from.only && *from.only != founding->id)
    return fail(Code::denied, "this device may only add snapshots to another volume");
  return founding;
}

Result<std::optional<Acceptor::State>> Acceptor::load(const Founding& founding) {
  auto raw = store_->get(state_key(founding.id));
  if (!raw) return fail(std::move(raw.error()));
  if (!*raw) return std::optional<State>();
  auto message = wire::decode<wire::KeeperState>(as_bytes(**raw));
  if (!message) return fail(std::move(message.error()), "keeper state");
  auto config = parse_config(message->config());
  auto promised = parse_ballot(message->promised());
  auto accepted = parse_ballot(message->accepted());
  if (!config || !promised || !accepted) return fail(Code::corrupt, "keeper state");
  State state{.config = std::move(*config), .promised = *promised, .accepted = *accepted};
  state.retained = message->retained();
  state.retained_bytes = message->retained_bytes();
  if (message->has_value()) {
    auto value = parse_checked_value(founding, message->value());
    if (!value) return fail(std::move(value.error()), "keeper state");
    state.value = std::move(*value);
  }
  if (state.config.epoch > 0) {
    auto origin = store_->get(origin_key(founding.id));
    if (!origin) return fail(std::move(origin.error()));
    if (!*origin) return fail(Code::corrupt, "a keeper's state without its origin");
    CAIRN_TRY(wire::decode_into(state.origin, as_bytes(**origin)));
  }
  return std::optional<State>(std::move(state));
}

Result<Acceptor::Entry> Acceptor::enter(const Founding& founding, const RegisterConfig& config,
                                        const wire::RegisterOrigin* origin) {
  auto loaded = load(founding);
  if (!loaded) return fail(std::move(loaded.error()));
  // The owner went on elsewhere without this keeper.
  auto superseded = superseded_by(founding);
  if (!superseded) return fail(std::move(superseded.error()));
  if (*superseded && (*superseded)->config.epoch > config.epoch)
    return Entry{.verdict = wire::MOVED, .state = std::move(**superseded)};
  if (*loaded && (*loaded)->config.epoch >= config.epoch) {
    Entry entry{.state = std::move(**loaded)};
    if (entry.state.config.epoch > config.epoch) {
      entry.verdict = wire::MOVED;
    } else if (entry.state.config != config) {
      entry.verdict = wire::NOT_KEEPER;
    }
    return entry;
  }
  // Nothing here yet, or only an earlier configuration.
  if (!place_of(config, node_, instance_)) {
    const bool later = *loaded && config.epoch >> kForceBits > (*loaded)->config.epoch >> kForceBits;
    if (later && origin != nullptr && check_origin(founding, *origin, config)) {
      env::WriteBatch batch;
      batch.put(superseded_key(founding.id), wire::encode_text(*origin));
      CAIRN_TRY(store_->write(batch, true));
    }
    return Entry{.verdict = wire::NOT_KEEPER};
  }
  Entry entry{.state = {.config = config, .new_register = !*loaded, .new_config = true}};
  if (*loaded) {
    entry.state.retained = (*loaded)->retained;
    entry.state.retained_bytes = (*loaded)->retained_bytes;
  }
  if (config.epoch == 0) {
    if (founding.kind == wire::RegisterFounding::HEAD && config != founding.first) {
      return fail(Code::denied, "the founding names other keepers");
    }
    return entry;
  }
  if (faults_.skip_origin) return entry;
  if (origin == nullptr) return Entry{.verdict = wire::NEEDS_ORIGIN};
  auto value = check_origin(founding, *origin, config);
  if (!value) return fail(std::move(value.error()), "origin");
  // What was accepted under keepers that were given up is not lost with their configuration.
  bool lost = false;
  if (*loaded && (*loaded)->value) {
    const RegisterState old = state_of(*(*loaded)->value, (*loaded)->config);
    lost = parted_from(state_of(*value, config), old.era(), old.sequence, old.hash).has_value();
  }
  if (lost) {
    auto strays = strays_of(founding.id);
    if (!strays) return fail(std::move(strays.error()));
    strays->push_back((*loaded)->value->encoded);
    while (static_cast<int>(strays->size()) > kMaxStrays) strays->erase(strays->begin());
    entry.state.strays = std::move(*strays);
  }
  entry.state.value = std::move(*value);
  entry.state.origin = *origin;
  return entry;
}

Result<std::optional<Acceptor::State>> Acceptor::superseded_by(const Founding& founding) {
  auto raw = store_->get(superseded_key(founding.id));
  if (!raw) return fail(std::move(raw.error()));
  if (!*raw) return std::optional<State>();
  State state;
  CAIRN_TRY(wire::decode_into(state.origin, as_bytes(**raw)));
  auto value = parse_checked_value(founding, state.origin.value());
  if (!value) return fail(std::move(value.error()), "keeper state");
  state.config = value->next;
  return std::optional(std::move(state));
}

Result<std::vector<wire::Signed>> Acceptor::strays_of(const RegisterId& id) const {
  auto raw = store_->get(strays_key(id));
  if (!raw) return fail(std::move(raw.error()));
  std::vector<wire::Signed> strays;
  if (!*raw) return strays;
  auto message = wire::decode<wire::KeeperStrays>(as_bytes(**raw));
  if (!message) return fail(std::move(message.error()), "keeper state");
  strays.assign(message->values().begin(), message->values().end());
  return strays;
}

Result<size_t> Acceptor::registers_here() const {
  size_t count = 0;
  auto cursor = store_->cursor();
  for (cursor->seek("r"); cursor->valid() && cursor->key().starts_with('r'); cursor->next()) {
    auto message = wire::decode<wire::KeeperState>(as_bytes(cursor->value()));
    if (!message) return fail(std::move(message.error()), "keeper state");
    auto body = wire::decode<wire::RegisterValue>(message->value().body());
    // What sealed this configuration is held by those who were its keepers, for who asks for the register later.
    auto superseded = store_->get("f" + std::string(cursor->key().substr(1)));
    if (!superseded) return fail(std::move(superseded.error()));
    if (*superseded) continue;
    const bool moved_on =
        message->has_value() && body && body->sealed() && body->config().epoch() == message->config().epoch();
    if (!moved_on) ++count;
  }
  CAIRN_TRY(cursor->status());
  return count;
}

Status Acceptor::retain(const Founding& founding, State& state, const Value& value, const Requester& from,
                        env::WriteBatch& batch) {
  const std::string prefix = retained_prefix(founding.id);
  if (from.only || value.append_only) {
    if (!state.value || state.value->body_hash == value.body_hash || state.value->content.empty()) return {};
    Bytes place;
    append_be64(place, state.value->sequence);
    append(place, state.value->body_hash.view());
    const std::string key = prefix + to_string(ByteView(place));
    auto there = store_->get(key);
    if (!there) return fail(std::move(there.error()));
    if (*there) return {};
    wire::RetainedValue kept;
    kept.set_key(to_string(ByteView(place)));
    *kept.mutable_value() = state.value->encoded;
    const std::string encoded = wire::encode_text(kept);
    if (state.retained >= kMaxRetained || state.retained_bytes + encoded.size() > kMaxRetainedBytes)
      return fail(Code::no_space,
                  "a full device of yours must look at what was added first: run `cairn snapshots` there");
    ++state.retained;
    state.retained_bytes += encoded.size();
    batch.put(key, encoded);
    return {};
  }
  if (!value.settles || state.retained == 0) return {};
  state.retained = state.retained_bytes = 0;
  auto cursor = store_->cursor();
  for (cursor->seek(prefix); cursor->valid() && cursor->key().starts_with(prefix); cursor->next()) {
    const std::string_view key = cursor->key();
    const ByteView place = as_bytes(key.substr(prefix.size()));
    if (place.size() >= 8 && read_be64(place.data()) < value.sequence) {
      batch.remove(key);
    } else {
      ++state.retained;
      state.retained_bytes += cursor->value().size();
    }
  }
  return cursor->status();
}

Result<wire::RegisterRetainedResponse> Acceptor::retained(const wire::RegisterRetainedRequest& request,
                                                          const Requester& from) {
  auto founding = check_request(as_bytes(request.founding()), from);
  if (!founding) return fail(std::move(founding.error()));
  if (from.only) return fail(Code::denied, "for devices that may do more than add");
  const std::string prefix = retained_prefix(founding->id);
  wire::RegisterRetainedResponse response;
  size_t bytes = 0;
  auto cursor = store_->cursor();
  for (cursor->seek(prefix + request.after()); cursor->valid() && cursor->key().starts_with(prefix); cursor->next()) {
    if (cursor->key().substr(prefix.size()) == request.after()) continue;
    if (bytes >= kRetainedPage) {
      response.set_more(true);
      break;
    }
    CAIRN_TRY(wire::decode_into(*response.add_values(), as_bytes(cursor->value())));
    bytes += cursor->value().size();
  }
  CAIRN_TRY(cursor->status());
  return response;
}

Status Acceptor::save(const Founding& founding, const State& state, bool sync, env::WriteBatch batch) {
  if (state.new_register) {
    const std::lock_guard lock(mutex_);
    uint32_t& count = registers_[founding.owner];
    if (count >= kMaxRegistersPerMember) return fail(Code::no_space, "this keeper keeps too many registers of yours");
    ++count;
  }
  wire::KeeperState message;
  message.set_founding(founding.bytes.data(), founding.bytes.size());
  put_config(state.config, message.mutable_config());
  put_ballot(state.promised, message.mutable_promised());
  put_ballot(state.accepted, message.mutable_accepted());
  if (state.value) *message.mutable_value() = state.value->encoded;
  message.set_retained(state.retained);
  message.set_retained_bytes(state.retained_bytes);
  batch.put(state_key(founding.id), wire::encode_text(message));
  if (state.new_config && state.config.epoch > 0) {
    batch.put(origin_key(founding.id), wire::encode_text(state.origin));
  }
  if (!state.strays.empty()) {
    wire::KeeperStrays strays;
    for (const wire::Signed& one : state.strays) *strays.add_values() = one;
    batch.put(strays_key(founding.id), wire::encode_text(strays));
  }
  auto status = store_->write(batch, sync);
  if (!status) broken_ = true;
  return status;
}

Result<wire::RegisterPrepareResponse> Acceptor::prepare(const wire::RegisterPrepareRequest& request,
                                                        const Requester& from) {
  auto founding = check_request(as_bytes(request.founding()), from);
  if (!founding) return fail(std::move(founding.error()));
  auto config = parse_config(request.config());
  if (!config) return fail(std::move(config.error()));
  auto ballot = parse_ballot(request.ballot());
  if (!ballot) return fail(std::move(ballot.error()));
  if (ballot->counter == 0) return fail(Code::corrupt, "a proposal without a ballot");
  auto entry = enter(*founding, *config, request.has_origin() ? &request.origin() : nullptr);
  if (!entry) return fail(std::move(entry.error()));
  wire::RegisterPrepareResponse response;
  response.set_verdict(entry->verdict);
  State& state = entry->state;
  if (entry->verdict == wire::MOVED) {
    put_config(state.config, response.mutable_config());
    *response.mutable_origin() = state.origin;
  }
  if (entry->verdict != wire::AGREED) return response;
  const auto clock = static_cast<uint64_t>(std::max<WallTime>(from.now, 0) / 1'000'000);
  if (from.only && ballot->counter > std::max(state.promised.counter, clock) + kBallotLead)
    return fail(Code::denied, "a ballot far ahead of the clock");
  if (*ballot <= state.promised) {
    response.set_verdict(wire::OUTBID);
    put_ballot(state.promised, response.mutable_highest());
    return response;
  }
  state.promised = *ballot;
  CAIRN_TRY(save(*founding, state, !faults_.forget_promises));
  put_ballot(state.promised, response.mutable_highest());
  put_ballot(state.accepted, response.mutable_accepted());
  if (state.value) *response.mutable_value() = state.value->encoded;
  response.set_now(from.now);
  response.set_retained(state.retained);
  return response;
}

Result<wire::RegisterAcceptResponse> Acceptor::accept(const wire::RegisterAcceptRequest& request,
                                                      const Requester& from) {
  auto founding = check_request(as_bytes(request.founding()), from);
  if (!founding) return fail(std::move(founding.error()));
  auto config = parse_config(request.config());
  if (!config) return fail(std::move(config.error()));
  auto ballot = parse_ballot(request.ballot());
  if (!ballot) return fail(std::move(ballot.error()));
  if (ballot->counter == 0) return fail(Code::corrupt, "a proposal without a ballot");
  auto value = parse_value(*founding, request.value());
  if (!value) return fail(std::move(value.error()));
  if (value->config != *config && !value->begins(*config)) {
    return fail(Code::corrupt, "a value of another configuration");
  }
  auto entry = enter(*founding, *config, request.has_origin() ? &request.origin() : nullptr);
  if (!entry) return fail(std::move(entry.error()));
  wire::RegisterAcceptResponse response;
  response.set_verdict(entry->verdict);
  State& state = entry->state;
  if (entry->verdict == wire::MOVED) {
    put_config(state.config, response.mutable_config());
    *response.mutable_origin() = state.origin;
  }
  if (entry->verdict != wire::AGREED) return response;
  if (*ballot < state.promised && !faults_.accept_lower_ballots) {
    response.set_verdict(wire::OUTBID);
    put_ballot(state.promised, response.mutable_highest());
    return response;
  }
  // A lower sequence number is no reason to refuse: what stands here may never have been chosen. Neither is a value
  // whose signer was revoked since: an admitted device of the owner hands it on, or the register would stand still.
  // For a device that may only add it is one, and so is a number from which one cannot go on: what was never chosen is
  // one ahead at most, so this holds it up only while a majority is away.
  if (from.only && state.value &&
      (value->sequence < state.value->sequence || value->sequence > state.value->sequence + kSequenceLead))
    return fail(Code::denied, "a device that may only add goes back");
  if (from.only && *ballot > state.promised) return fail(Code::denied, "a ballot that was not promised");
  env::WriteBatch batch;
  CAIRN_TRY(retain(*founding, state, *value, from, batch));
  state.promised = *ballot;
  state.accepted = *ballot;
  state.value = std::move(*value);
  CAIRN_TRY(save(*founding, state, true, std::move(batch)));
  put_ballot(state.promised, response.mutable_highest());
  // Receipts are evidence for the next configuration only.
  if (state.value->sealed && state.value->config == *config)
    *response.mutable_receipt() =
        make_receipt(founding->id, *ballot, state.value->body_hash, config->epoch, node_, device_);
  return response;
}

Result<wire::RegisterPeekResponse> Acceptor::peek(const wire::RegisterPeekRequest& request, const Requester& from) {
  if (broken_) return fail(Code::io, "this keeper's disk failed");
  auto id = RegisterId::from(request.register_());
  if (!id) return fail(std::move(id.error()));
  wire::RegisterPeekResponse response;
  response.set_instance(to_string(ByteView(instance_)));
  auto raw = store_->get(state_key(*id));
  if (!raw) return fail(std::move(raw.error()));
  if (!*raw) return response;
  auto message = wire::decode<wire::KeeperState>(as_bytes(**raw));
  if (!message) return fail(std::move(message.error()), "keeper state");
  auto founding = check_request(as_bytes(message->founding()), from);
  if (!founding) return fail(std::move(founding.error()));
  auto state = load(*founding);
  if (!state) return fail(std::move(state.error()));
  response.set_known(true);
  auto superseded = superseded_by(*founding);
  if (!superseded) return fail(std::move(superseded.error()));
  const State& newest = *superseded ? **superseded : **state;
  put_config(newest.config, response.mutable_config());
  response.set_founding(message->founding());
  if (newest.config.epoch > 0) {
    *response.mutable_origin() = newest.origin;
  } else if (founding->kind == wire::RegisterFounding::ACCOUNT && (*state)->value) {
    *response.mutable_value() = (*state)->value->encoded;
  }
  if (request.values()) {
    size_t room = wire::kMaxRegisterBody / 2;  // beside configuration and origin
    auto strays = strays_of(*id);
    if (!strays) return fail(std::move(strays.error()));
    if ((*state)->value) strays->insert(strays->begin(), (*state)->value->encoded);
    for (const wire::Signed& one : *strays) {
      const size_t size = one.ByteSizeLong() + 16;
      if (size > room) continue;
      room -= size;
      *response.add_values() = one;
    }
  }
  return response;
}

}  // namespace cairn::volume
