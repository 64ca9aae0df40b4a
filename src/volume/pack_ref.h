#pragma once
// pool::PackRef as it is kept in items and heads (wire.PackRef).

#include "pool/client.h"

namespace cairn::wire {
class PackRef;
class NodeRef;
}  // namespace cairn::wire

namespace cairn::volume {

struct NodeRef;

void to_message(const pool::PackRef& pack, wire::PackRef& message);
// Code::corrupt when it is out of bounds.
Result<pool::PackRef> from_message(const wire::PackRef& message);
std::string encode_pack_ref(const pool::PackRef& pack);
Result<pool::PackRef> decode_pack_ref(std::string_view value);

void to_message(const NodeRef& node, wire::NodeRef& message);
Result<NodeRef> from_message(const wire::NodeRef& message);

}  // namespace cairn::volume
