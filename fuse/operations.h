#pragma once
// What the two files of operations share: a request's answer out of a call's result.

#include "fuse/session.h"

namespace cairn::fuse {

// The reply for calls whose value needs `answer(session, request, value)`; errors are answered here.
template <class T, class Answer>
Drive::Reply<T> replying(fuse_req_t request, Answer answer) {
  return [request, answer = std::move(answer)](std::expected<T, int> result) mutable {
    Session& session = Session::of(request);
    session.ended(request);
    if (!result) {
      fuse_reply_err(request, result.error());
    } else {
      answer(session, request, std::move(*result));
    }
  };
}
inline Drive::Reply<void> replying(fuse_req_t request) {
  return [request](std::expected<void, int> result) {
    Session::of(request).ended(request);
    fuse_reply_err(request, result ? 0 : result.error());
  };
}
inline Drive::Reply<DriveNode> replying_entry(fuse_req_t request) {
  return replying<DriveNode>(
      request, [](Session& session, fuse_req_t to, const DriveNode& node) { session.answer_entry(to, node); });
}
inline Drive::Reply<DriveNode> replying_attributes(fuse_req_t request) {
  return replying<DriveNode>(
      request, [](Session& session, fuse_req_t to, const DriveNode& node) { session.answer_attributes(to, node); });
}

inline DriveCaller caller_of(fuse_req_t request) {
  const fuse_ctx* context = fuse_req_ctx(request);
  return {.uid = context->uid, .gid = context->gid, .umask = context->umask};
}

}  // namespace cairn::fuse
