#include "crypto/side_by_side.h"

#ifdef CAIRN_WITH_IPSEC_MB

#include <intel-ipsec-mb.h>

#include "base/vector_state.h"

namespace cairn::crypto {

namespace {

// A manager keeps the lanes of the jobs under way, so each thread has its own.
class Manager {
 public:
  Manager() : manager_(::alloc_mb_mgr(0)) {
    if (manager_ == nullptr) return;
    IMB_ARCH arch = IMB_ARCH_NONE;
    ::init_mb_mgr_auto(manager_, &arch);
    if (arch == IMB_ARCH_NONE || ::imb_get_errno(manager_) != 0) {
      ::free_mb_mgr(manager_);
      manager_ = nullptr;
    }
  }
  ~Manager() {
    if (manager_ != nullptr) ::free_mb_mgr(manager_);
  }
  Manager(const Manager&) = delete;
  Manager& operator=(const Manager&) = delete;

  bool hash(ByteView bytes, size_t piece, std::span<Hash> out) {
    if (manager_ == nullptr) return false;
    bool whole = true;
    size_t ended = 0;
    const auto take = [&](const IMB_JOB* job) {
      whole = whole && job->status == IMB_STATUS_COMPLETED;
      ++ended;
    };
    for (size_t i = 0; i < out.size(); ++i) {
      IMB_JOB* job = IMB_GET_NEXT_JOB(manager_);
      *job = {};
      job->cipher_mode = IMB_CIPHER_NULL;
      job->cipher_direction = IMB_DIR_ENCRYPT;
      job->chain_order = IMB_ORDER_HASH_CIPHER;
      job->hash_alg = IMB_AUTH_SHA_256;
      job->src = bytes.data() + i * piece;
      job->msg_len_to_hash_in_bytes = piece;
      job->auth_tag_output = out[i].bytes.data();
      job->auth_tag_output_len_in_bytes = out[i].bytes.size();
      for (job = IMB_SUBMIT_JOB(manager_); job != nullptr; job = IMB_GET_COMPLETED_JOB(manager_)) take(job);
    }
    while (const IMB_JOB* job = IMB_FLUSH_JOB(manager_)) take(job);
    leave_vector_code();
    return whole && ended == out.size();
  }

 private:
  IMB_MGR* manager_;
};

}  // namespace

bool sha256_side_by_side(ByteView bytes, size_t piece, std::span<Hash> out) {
  CAIRN_ASSERT(piece > 0 && piece <= kMaxSideBySide && bytes.size() / piece >= out.size());
  thread_local Manager manager;
  return manager.hash(bytes, piece, out);
}

}  // namespace cairn::crypto

#else

namespace cairn::crypto {

bool sha256_side_by_side(ByteView, size_t, std::span<Hash>) {
  return false;
}

}  // namespace cairn::crypto

#endif
