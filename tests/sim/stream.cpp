#include "sim/stream.h"

#include "sim/world.h"

namespace cairn::sim {

Connection::Connection(SimNetwork& net, uint64_t number, End connecting, End accepting, env::Executor& a,
                       env::Executor& b)
    : network(net),
      id(number),
      ends{std::move(connecting), std::move(accepting)},
      pipes{Pipe(ends[0].node, ends[1].node, a, b), Pipe(ends[1].node, ends[0].node, b, a)} {}

void Connection::send(size_t side, Packet packet) {
  Pipe& pipe = pipes[side];
  if (packet.kind == Packet::Kind::reset) ++network.count_total().resets;
  if (network.blocked(pipe.from, pipe.to)) {
    pipe.held.push_back(std::move(packet));
    return;
  }
  SimWorld& world = network.world();
  const Time when = std::max(world.now() + network.delay(pipe.from, pipe.to, packet.bytes.size()), pipe.last_arrival);
  pipe.last_arrival = when;
  world.scheduler().at(when, pipe.to + 1, [self = shared_from_this(), side, packet = std::move(packet)]() mutable {
    self->arrive(1 - side, std::move(packet));
  });
}

void Connection::arrive(size_t side, Packet packet) {
  End& end = ends[side];
  Pipe& pipe = pipes[1 - side];
  network.world().trace().mix(id << 8 | static_cast<uint64_t>(packet.kind) << 1 | side);
  network.world().trace().mix(packet.bytes.size());
  if (end.broken) return;
  switch (packet.kind) {
    case Packet::Kind::opened: {
      const auto listener = end.listener.lock();
      if (!listener) {
        end.closed = true;
        send(side, {Packet::Kind::reset, {}});
        return;
      }
      (*listener)(std::make_unique<SimStream>(shared_from_this(), side));
      return;
    }
    case Packet::Kind::data:
      if (end.closed) {  // nobody reads any more
        end.broken = true;
        send(side, {Packet::Kind::reset, {}});
        return;
      }
      pipe.arrived.push_back(std::move(packet.bytes));
      pipe.readable.notify_all();
      return;
    case Packet::Kind::end:
      pipe.ended = true;
      pipe.readable.notify_all();
      pipes[side].writable.notify_all();
      return;
    case Packet::Kind::reset:
      break_end(side);
      return;
  }
}

void Connection::close(size_t side) {
  if (ends[side].closed) return;
  ends[side].closed = true;
  pipes[1 - side].arrived.clear();
  pipes[1 - side].readable.notify_all();
  pipes[side].writable.notify_all();
  if (!ends[side].broken) send(side, {Packet::Kind::end, {}});
}

void Connection::break_end(size_t side) {
  ends[side].broken = true;
  pipes[1 - side].arrived.clear();
  pipes[1 - side].readable.notify_all();
  pipes[side].writable.notify_all();
}

void Connection::flush(size_t side) {
  Pipe& pipe = pipes[side];
  auto held = std::exchange(pipe.held, {});
  for (Packet& packet : held) send(side, std::move(packet));
  // The acknowledgements of what this end read travel the same way.
  if (const uint64_t credit = std::exchange(pipes[1 - side].held_credit, 0); credit > 0) consumed(side, credit);
}

void Connection::consumed(size_t side, uint64_t bytes) {
  Pipe& pipe = pipes[1 - side];
  if (network.blocked(pipe.to, pipe.from)) {
    pipe.held_credit += bytes;
    return;
  }
  pipe.unread -= bytes;
  pipe.writable.notify_all();
}

env::Task<Result<size_t>> SimStream::read(std::shared_ptr<Connection> connection, size_t side, MutableByteView into) {
  const Connection::End& end = connection->ends[side];
  Pipe& pipe = connection->pipes[1 - side];
  CAIRN_ASSERT(!pipe.reading && !into.empty());  // one reader at a time
  pipe.reading = true;
  struct Done {
    Pipe& pipe;
    ~Done() { pipe.reading = false; }
  } done{pipe};
  for (;;) {
    if (end.closed || end.broken) co_return fail(Code::closed);
    if (!pipe.arrived.empty()) {
      Bytes& front = pipe.arrived.front();
      const size_t count = std::min(into.size(), front.size() - pipe.front_used);
      std::memcpy(into.data(), front.data() + pipe.front_used, count);
      pipe.front_used += count;
      if (pipe.front_used == front.size()) {
        pipe.arrived.pop_front();
        pipe.front_used = 0;
      }
      connection->consumed(side, count);
      co_return count;
    }
    if (pipe.ended) co_return size_t{0};
    co_await pipe.readable.wait();
  }
}

env::Task<Status> SimStream::write(std::shared_ptr<Connection> connection, size_t side, std::vector<ByteView> parts) {
  const Connection::End& end = connection->ends[side];
  Pipe& pipe = connection->pipes[side];
  CAIRN_ASSERT(!pipe.writing);  // one writer at a time
  pipe.writing = true;
  struct Done {
    Connection& connection;
    size_t side;
    bool whole = false;
    ~Done() {
      connection.pipes[side].writing = false;
      if (!whole) connection.close(side);  // destroyed half-way: the peer must not take a part for the whole
    }
  } done{*connection, side};
  size_t part = 0;
  size_t used = 0;
  for (;;) {
    while (part < parts.size() && used == parts[part].size()) {
      ++part;
      used = 0;
    }
    if (end.closed || end.broken || connection->pipes[1 - side].ended) {
      done.whole = true;
      co_return fail(Code::closed);
    }
    if (part == parts.size()) break;
    if (pipe.unread >= kWindow) {
      co_await pipe.writable.wait();
      continue;
    }
    Bytes packet;
    while (part < parts.size() && packet.size() < kPacket) {
      const size_t count = std::min(kPacket - packet.size(), parts[part].size() - used);
      append(packet, parts[part].subspan(used, count));
      used += count;
      if (used == parts[part].size()) {
        ++part;
        used = 0;
      }
    }
    pipe.unread += packet.size();
    connection->network.sent(pipe.from, pipe.to, packet);
    connection->send(side, {Packet::Kind::data, std::move(packet)});
  }
  done.whole = true;
  co_return Status{};
}

}  // namespace cairn::sim
