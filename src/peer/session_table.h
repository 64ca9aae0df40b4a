#pragma once
// SessionTable: all sessions of this process, by NodeID: accepting, dialling (once for all who want one), caps.

#include "env/random.h"
#include "peer/session.h"

namespace cairn::peer {

class SessionTable final : public SessionOwner {
 public:
  struct Hooks {
    std::function<void(const NodeId&)> heard;   // it sent something, and it serves
    std::function<void(const NodeId&)> failed;  // it could not be reached, or did not answer
    // Another node says that this device is not, or no more, of the pool.
    std::function<void(const NodeId&, const Error&)> refused;
  };
  // All references outlive the table.
  SessionTable(env::World world, const Identity& identity, const Membership& membership, const PeersOptions& options,
               Hooks hooks);
  ~SessionTable() override;

  void serve(wire::Method method, Access access, Handler handler);
  void accept(std::unique_ptr<env::Stream> stream);
  env::Task<Result<Reply>> call(NodeId to, wire::Method method, Bytes body, Buffer payload, Duration timeout);
  env::Task<Result<NodeId>> dial(env::Address address, Duration timeout);
  // Its refusal no longer counts: it may be dialled again at once.
  void forgive(const NodeId& node);
  // Ends the sessions of those whom the member log admits no more.
  void recheck();
  // Ends all sessions and takes no more.
  void shut_down();
  bool has_session(const NodeId& node) const;  // one that serves
  // An address, or a session: it can be asked now.
  bool reachable(const NodeId& node) const;
  // Bytes that this node's machine has taken, over the sessions there are now.
  uint64_t delivered(const NodeId& node) const;
  size_t sessions() const { return sessions_.size(); }
  Traffic total_traffic() const;

  // SessionOwner
  const Identity& identity() const override { return identity_; }
  const Membership& membership() const override { return membership_; }
  const PeersOptions& options() const override { return options_; }
  Traffic& traffic() override { return traffic_; }
  const Served* served(wire::Method method) const override;
  Status may_open(Session& session) override;
  void greeted(Session& session) override;
  void heard(Session& session) override;
  void closed(Session& session) override;

 private:
  using SessionPtr = std::shared_ptr<Session>;
  using Waiter = env::OneShot<Result<SessionPtr>>;
  // What is known of one node's reachability.
  struct Contact {
    explicit Contact(env::Executor& executor) : load(std::make_shared<PeerLoad>(executor)) {}
    std::map<uint64_t, SessionPtr> sessions;
    std::shared_ptr<PeerLoad> load;
    std::vector<Waiter> waiters;
    bool dialling = false;
    Duration backoff{};
    Time next_dial{};
    Error last_error{Code::unreachable, ""};
    std::optional<env::Address> hint;  // where it was met without a record
  };

  Contact& contact(const NodeId& node);
  SessionPtr best(const Contact& contact) const;
  SessionPtr add(std::unique_ptr<env::Stream> stream, Session::Side side, Duration hello_timeout);
  env::Task<Result<SessionPtr>> session_to(NodeId to, Time deadline);
  static env::Task<void> dial_node(SessionTable* self, NodeId node);
  env::Task<Result<SessionPtr>> try_address(env::Address address, std::optional<NodeId> expected, Duration timeout);
  std::vector<env::Address> addresses_of(const NodeId& node) const;
  void set_back(Contact& contact, Error error);
  void reap(uint64_t number);

  env::World world_;
  const Identity& identity_;
  const Membership& membership_;
  const PeersOptions& options_;
  Hooks hooks_;
  Traffic traffic_;
  std::map<wire::Method, Served> served_;
  std::map<NodeId, Contact> contacts_;
  std::map<uint64_t, SessionPtr> sessions_;
  uint64_t next_number_ = 1;
  bool shut_down_ = false;
  RateLimit refusals_{10, std::chrono::minutes(1)};
  std::shared_ptr<SessionTable*> alive_;  // for what is posted
  env::TaskGroup tasks_;
};

}  // namespace cairn::peer
