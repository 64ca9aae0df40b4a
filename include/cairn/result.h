#pragma once
// Result<T>: how every function that can fail says so. Exceptions are bugs or out-of-memory.

#include <expected>
#include <string>
#include <string_view>
#include <utility>

namespace cairn {

// A code exists only where some caller reacts to it; the context is for people.
enum class Code {
  not_found,        // no such pool, volume, snapshot, path, key, shard
  exists,           // it is there already
  bad_input,        // the caller's or a user's input is not of the right form
  corrupt,          // bytes that fail their checksum, tag, hash or signature
  denied,           // not a member, no certificate, revoked, not a writer
  io,               // the operating system refused
  no_space,         // quota or disk space exhausted
  timeout,          // the deadline passed; the work may have happened
  cancelled,        // the caller gave up
  unreachable,      // no session could be made; the work certainly did not happen
  closed,           // the stream or session ended while the work was under way; it may have happened
  too_few_peers,    // not enough distinct domains to write, or shards to read
  conflict,         // somebody else changed it first
  unknown_outcome,  // a commit whose fate must be read back
  wrong_phrase,     // the recovery phrase or passphrase does not open this
  expired,          // an invite or certificate past its time
  used,             // an invite that was already used
  too_large,        // over a stated limit
  overloaded,       // a cap per peer is reached: try later or elsewhere
  unsupported,      // a version or feature this build does not know
  damaged,          // user data that cannot be recovered from what is left
  interrupted,      // the user pressed Ctrl-C
};

std::string_view to_string(Code code);

struct Error {
  Code code;
  std::string context;  // one line, no trailing full stop, no keys, no plaintext
};

template <class T>
using Result = std::expected<T, Error>;
using Status = Result<void>;

inline std::unexpected<Error> fail(Code code, std::string context = {}) {
  return std::unexpected<Error>(Error{code, std::move(context)});
}
// Hands on another Result's error.
inline std::unexpected<Error> fail(Error error) {
  return std::unexpected<Error>(std::move(error));
}
// Puts "what: " before the context of an error that is handed on.
inline std::unexpected<Error> fail(Error error, std::string_view what) {
  error.context = error.context.empty() ? std::string(what) : std::string(what) + ": " + error.context;
  return std::unexpected<Error>(std::move(error));
}

// "corrupt: chunk tag mismatch"
std::string to_string(const Error& error);

// Guards an invariant, never input; stays on in release. Prints the place and aborts.
[[noreturn]] void invariant_failed(const char* expression, const char* file, int line);

}  // namespace cairn

#define CAIRN_ASSERT(expression) \
  ((expression) ? static_cast<void>(0) : ::cairn::invariant_failed(#expression, __FILE__, __LINE__))

// `CAIRN_TRY(expr)` hands on the error of a Status or Result in a plain function; `CAIRN_CO_TRY` in a coroutine.
#define CAIRN_TRY(...)                                                                                     \
  do {                                                                                                     \
    if (auto cairn_try_ = (__VA_ARGS__); !cairn_try_) return ::cairn::fail(std::move(cairn_try_.error())); \
  } while (false)
#define CAIRN_CO_TRY(...)                                                                                     \
  do {                                                                                                        \
    if (auto cairn_try_ = (__VA_ARGS__); !cairn_try_) co_return ::cairn::fail(std::move(cairn_try_.error())); \
  } while (false)
