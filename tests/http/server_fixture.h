// A test with a server of its own.
#pragma once

#include <memory>
#include <string_view>
#include <utility>

#include <gtest/gtest.h>

#include "tests/http/raw_client.h"
#include "tests/http/test_server.h"

namespace edgellm::http {

class ServerTest : public testing::Test {
 protected:
  void Start(ServerOptions options) { server_ = std::make_unique<Server>(std::move(options), TestRoutes(&observed_)); }
  void Start() { Start(TestOptions(&observed_)); }
  RawClient Connect() { return RawClient(server_->port()); }
  /// One request on a connection of its own.
  RawReply Ask(std::string_view text, bool head_only = false) {
    RawClient client = Connect();
    client.Send(text);
    return client.ReadReply(head_only);
  }

  Observed observed_;
  std::unique_ptr<Server> server_;
};

}  // namespace edgellm::http
