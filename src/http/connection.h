// A connection of HTTP/1.1 or 1.0: reads requests one after the other, has them answered, and hands itself over where
// one asks for a WebSocket. Private to src/http: it names Asio.
#pragma once

#include <boost/asio/ip/tcp.hpp>
#include <memory>
#include <string>

#include "http/shared.h"

namespace edgellm::http {

/// Begins to serve a connected socket, whose executor is a strand. `crowded`: there are too many connections, and
/// whatever is asked on this one is answered with 503.
void StartConnection(std::shared_ptr<Shared> shared, boost::asio::ip::tcp::socket socket, std::string peer,
                     bool crowded);

}  // namespace edgellm::http
