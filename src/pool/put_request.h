#pragma once
// The request that brings a shard to a holder.

#include "content/pack.h"
#include "proto/pack.pb.h"

namespace cairn::pool {

// Without the siblings.
inline wire::ShardPutRequest put_request(const content::PackHeader& header, uint8_t slot, uint32_t crc) {
  wire::ShardPutRequest request;
  request.mutable_header()->set_body(header.body.data(), header.body.size());
  request.mutable_header()->set_signature(header.signature.data(), header.signature.size());
  request.mutable_header()->set_public_key(header.writer_key.data(), header.writer_key.size());
  request.set_slot(slot);
  request.set_crc32c(crc);
  return request;
}

}  // namespace cairn::pool
