#pragma once
// Asio, for the .cpp files of this room only: it takes seconds to compile and must not leak into public headers.

#define ASIO_STANDALONE 1
#define ASIO_NO_DEPRECATED 1
#define ASIO_NO_TYPEID 1

#include <asio/error.hpp>
#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/ip/v6_only.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <asio/post.hpp>
#include <asio/signal_set.hpp>
#include <asio/steady_timer.hpp>
