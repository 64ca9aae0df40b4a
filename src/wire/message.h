#pragma once
// Protobuf messages to bytes and back, bounded; and the numbers of error codes on the wire.

#include <google/protobuf/message_lite.h>

#include "base/bytes.h"
#include "base/ids.h"

namespace cairn::wire {

inline Bytes encode(const google::protobuf::MessageLite& message) {
  Bytes bytes(message.ByteSizeLong());
  message.SerializeToArray(bytes.data(), static_cast<int>(bytes.size()));
  return bytes;
}
inline std::string encode_text(const google::protobuf::MessageLite& message) {
  return message.SerializeAsString();
}

// Code::corrupt when the bytes are not such a message or nest deeper than 16.
Status decode_into(google::protobuf::MessageLite& message, ByteView bytes);
template <class M>
Result<M> decode(ByteView bytes) {
  M message;
  if (auto status = decode_into(message, bytes); !status) return fail(status.error());
  return message;
}
template <class M>
Result<M> decode(const std::string& bytes) {
  return decode<M>(as_bytes(bytes));
}

// Numbers of cairn::Code in wire.Failure; an unknown number reads as Code::unsupported.
uint32_t code_number(Code code);
Code code_from_number(uint32_t number);

}  // namespace cairn::wire
