#pragma once
// What the kernel's protocol has and libfuse 3.14 has not: read from, and written to, the device beside it.
//
//   O_TMPFILE   FUSE_TMPFILE: answered here whole.
//   set-id bits FUSE_HANDLE_KILLPRIV_V2: switched on in libfuse's answer to the first request. Without it the kernel
//   asks for
//               the attribute security.capability before every single write; with it a write says by a flag when the
//               set-user-ID bit must go.
//
// The structures are those of <linux/fuse.h>, which never change.

#include "fuse/session.h"

namespace cairn::fuse {

// Answers the request when it is one that libfuse does not know.
bool answer_beyond_libfuse(Session& session, ByteView request);
// Makes libfuse's replies pass through here.
Status extend_replies(fuse_session* library);
// Whether the write (or setattr) whose request this is takes set-id bits away.
bool kills_set_id(ByteView request);

}  // namespace cairn::fuse
