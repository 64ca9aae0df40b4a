#include "wire/message.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/stubs/logging.h>

#include <limits>

#include "wire/limits.h"

namespace cairn::wire {

Status decode_into(google::protobuf::MessageLite& message, ByteView bytes) {
  if (bytes.size() > static_cast<size_t>(std::numeric_limits<int>::max())) {
    return fail(Code::corrupt, "a message beyond 2 GiB");
  }
  // protobuf would write lines on stderr that any peer can cause; the error says what matters.
  [[maybe_unused]] static const auto silenced = google::protobuf::SetLogHandler(nullptr);
  google::protobuf::io::CodedInputStream input(bytes.data(), static_cast<int>(bytes.size()));
  input.SetRecursionLimit(kMaxNesting);
  if (!message.ParseFromCodedStream(&input) || !input.ConsumedEntireMessage()) {
    return fail(Code::corrupt, "malformed " + message.GetTypeName());
  }
  return {};
}

// Numbers are on the wire: never reuse one.
uint32_t code_number(Code code) {
  switch (code) {
    case Code::not_found:
      return 1;
    case Code::exists:
      return 2;
    case Code::bad_input:
      return 3;
    case Code::corrupt:
      return 4;
    case Code::denied:
      return 5;
    case Code::io:
      return 6;
    case Code::no_space:
      return 7;
    case Code::timeout:
      return 8;
    case Code::cancelled:
      return 9;
    case Code::unreachable:
      return 10;
    case Code::closed:
      return 11;
    case Code::too_few_peers:
      return 12;
    case Code::conflict:
      return 13;
    case Code::unknown_outcome:
      return 14;
    case Code::wrong_phrase:
      return 15;
    case Code::expired:
      return 16;
    case Code::used:
      return 17;
    case Code::too_large:
      return 18;
    case Code::overloaded:
      return 19;
    case Code::unsupported:
      return 20;
    case Code::damaged:
      return 21;
    case Code::interrupted:
      return 22;
  }
  return code_number(Code::unsupported);
}

Code code_from_number(uint32_t number) {
  static constexpr Code kCodes[] = {
      Code::not_found,  Code::exists,          Code::bad_input,    Code::corrupt,     Code::denied, Code::io,
      Code::no_space,   Code::timeout,         Code::cancelled,    Code::unreachable, Code::closed, Code::too_few_peers,
      Code::conflict,   Code::unknown_outcome, Code::wrong_phrase, Code::expired,     Code::used,   Code::too_large,
      Code::overloaded, Code::unsupported,     Code::damaged,      Code::interrupted};
  for (const Code code : kCodes) {
    if (code_number(code) == number) return code;
  }
  return Code::unsupported;
}

}  // namespace cairn::wire
