#pragma once
// Writes packs: k+m shards in parallel, back at the quorum, the rest finished behind.

#include "pool/client_state.h"

namespace cairn::pool {

// Strand only. `state` outlives it. Destroying it ends what is under way where it stands.
class PackWriter {
 public:
  explicit PackWriter(ClientState& state);
  ~PackWriter();

  content::PackGeometry geometry_now() const;
  Redundancy goal() const;
  // See PoolClient::write and settle.
  env::Task<Result<WriteOutcome>> write(content::EncodedPack pack);
  env::Task<uint64_t> settle();
  void stop();

 private:
  struct Writing;  // one pack
  struct Upload {  // under way
    Candidate to;
    Time begun;
    Time moved;  // when it was last seen that its holder's machine took something
    uint64_t delivered = 0;
  };
  struct Ended {
    NodeId node;
    Status status;
  };
  env::Task<void> run(std::shared_ptr<Writing> pack, uint64_t number);
  env::Task<void> fill(std::shared_ptr<Writing> pack, uint8_t slot);
  env::Task<Status> put(std::shared_ptr<Writing> pack, uint8_t slot, Candidate to);
  std::optional<Candidate> take_candidate(Writing& pack);
  bool note_failure(Writing& pack, const Candidate& holder, Code code);
  void received(Writing& pack, uint8_t slot, const Candidate& holder);
  Time patience(const Writing& pack, const Upload& upload) const;
  void look_at(Writing& pack, Upload& upload) const;

  ClientState& state_;
  env::Semaphore places_;         // packs in memory
  env::Semaphore stragglers_;     // bytes of single shards whose pack has left it
  uint64_t begun_ = 0;            // packs, all in all
  std::set<uint64_t> under_way_;  // of these, those that are not finished
  env::Signal finished_;
  env::TaskGroup tasks_;
};

}  // namespace cairn::pool
