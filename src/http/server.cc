// See server.h: listening, threads, and the end.
#include "http/server.h"

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ip/v6_only.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <random>
#include <set>
#include <thread>
#include <utility>

#include <fmt/format.h>

#include "base/error.h"
#include "http/connection.h"
#include "http/shared.h"

namespace edgellm::http {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;

constexpr int kCrowd = 64;  // connections beyond the limit that are told so; more are closed without a word
constexpr std::chrono::milliseconds kAcceptPause{100};

std::string Text(const tcp::endpoint& endpoint) {
  return endpoint.address().is_v6() ? fmt::format("[{}]:{}", endpoint.address().to_string(), endpoint.port())
                                    : fmt::format("{}:{}", endpoint.address().to_string(), endpoint.port());
}

/// An IPv4 client of a socket for both is shown as what it is.
std::string PeerText(asio::ip::address address) {
  if (address.is_v6() && address.to_v6().is_v4_mapped()) {
    address = asio::ip::make_address_v4(asio::ip::v4_mapped, address.to_v6());
  }
  return address.to_string();
}

std::vector<tcp::endpoint> Resolve(const ServerOptions& options) {
  std::string host = options.host;
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  boost::system::error_code error;
  const auto address = asio::ip::make_address(host, error);
  if (!error) return {{address, options.port}};
  asio::io_context io;
  tcp::resolver resolver(io);
  std::vector<tcp::endpoint> endpoints;
  const auto found = resolver.resolve(host, std::to_string(options.port), tcp::resolver::passive, error);
  std::set<tcp::endpoint> seen;
  for (const auto& entry : found) {
    if (seen.insert(entry.endpoint()).second) endpoints.push_back(entry.endpoint());
  }
  if (endpoints.empty()) {
    Fail(ErrorCode::kEnvironment, "cannot listen on '{}': {}", options.host,
         error ? error.message() : "it has no address");
  }
  return endpoints;
}

bool AreLoopback(const std::vector<tcp::endpoint>& endpoints) {
  for (const auto& endpoint : endpoints) {
    if (!IsLoopbackName(PeerText(endpoint.address()))) return false;
  }
  return true;
}

uint64_t RandomSeed() {
  std::random_device device;
  return (uint64_t{device()} << 32) | device();
}

}  // namespace

std::string Shared::MakeId() {
  uint64_t x = id_seed + next_id.fetch_add(1, std::memory_order_relaxed) * 0x9E3779B97F4A7C15;  // splitmix64
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EB;
  return fmt::format("{:016x}", x ^ (x >> 31));
}

struct Server::State {
  using WorkGuard = asio::executor_work_guard<asio::io_context::executor_type>;

  explicit State(std::shared_ptr<Shared> given) : shared(std::move(given)), work(asio::make_work_guard(shared->io)) {}

  void Listen(tcp::endpoint endpoint);
  void Accept(const std::shared_ptr<tcp::acceptor>& acceptor);
  void OnAccepted(const std::shared_ptr<tcp::acceptor>& acceptor, const boost::system::error_code& error,
                  tcp::socket socket);

  const std::shared_ptr<Shared> shared;
  WorkGuard work;
  std::vector<std::shared_ptr<tcp::acceptor>> acceptors;
  std::vector<std::string> addresses;
  uint16_t port = 0;
  std::vector<std::thread> threads;
  std::mutex stopping;  // held by Stop
  bool stopped = false;
};

void Server::State::Listen(tcp::endpoint endpoint) {
  const auto acceptor = std::make_shared<tcp::acceptor>(asio::make_strand(shared->io));
  boost::system::error_code error;
  const auto failed = [&](const char* what) {
    Fail(ErrorCode::kEnvironment, "cannot listen on {}: {}{}", Text(endpoint), what, error.message());
  };
  acceptor->open(endpoint.protocol(), error);
  if (error) failed("");
  acceptor->set_option(tcp::acceptor::reuse_address(true), error);
  // "::" means everything; a name that has addresses of both kinds gets a socket for each.
  if (endpoint.protocol() == tcp::v6()) {
    acceptor->set_option(asio::ip::v6_only(!endpoint.address().is_unspecified()), error);
  }
  acceptor->bind(endpoint, error);
  if (error) failed("");
  acceptor->listen(asio::socket_base::max_listen_connections, error);
  if (error) failed("");
  endpoint = acceptor->local_endpoint(error);
  if (error) failed("");
  port = endpoint.port();
  addresses.push_back(Text(endpoint));
  acceptors.push_back(acceptor);
}

void Server::State::Accept(const std::shared_ptr<tcp::acceptor>& acceptor) {
  acceptor->async_accept(asio::make_strand(shared->io),
                         [this, acceptor](const boost::system::error_code& error, tcp::socket socket) {
                           OnAccepted(acceptor, error, std::move(socket));
                         });
}

void Server::State::OnAccepted(const std::shared_ptr<tcp::acceptor>& acceptor, const boost::system::error_code& error,
                               tcp::socket socket) {
  if (!acceptor->is_open()) return;
  if (error) {
    // No file descriptors left, or a client that was gone already: the next one may have more luck, a little later.
    const auto pause = std::make_shared<asio::steady_timer>(acceptor->get_executor(), kAcceptPause);
    pause->async_wait([this, acceptor, pause](const boost::system::error_code&) {
      if (acceptor->is_open()) Accept(acceptor);
    });
    return;
  }
  boost::system::error_code unknown;
  const auto peer = socket.remote_endpoint(unknown);
  const int open = shared->CountOpen(), most = shared->options.limits.connections;
  bool crowded = open >= most;
  if (crowded && open < most + kCrowd) {
    if (const auto idle = shared->TakeLongestIdle()) {
      idle->GiveWay();
      crowded = false;
    }
  }
  if (open < most + kCrowd) {
    StartConnection(shared, std::move(socket), unknown ? "" : PeerText(peer.address()), crowded);
  }
  Accept(acceptor);
}

Server::Server(ServerOptions options, Router router) {
  const auto endpoints = Resolve(options);
  const bool loopback = AreLoopback(endpoints);
  if (!loopback && options.keys.empty()) {
    Fail(ErrorCode::kInvalidArgument,
         "'{}' can be reached from other machines, so that a key is wanted: set one, or listen on 127.0.0.1",
         options.host);
  }
  for (const auto& key : options.keys) {
    if (key.empty()) Fail(ErrorCode::kInvalidArgument, "an empty key protects nothing");
  }
  if (options.threads < 1) Fail(ErrorCode::kInvalidArgument, "a server needs a thread");
  const int threads = options.threads;
  if (!options.error_body) options.error_body = PlainErrorBody;
  state_ =
      std::make_unique<State>(std::make_shared<Shared>(std::move(options), std::move(router), loopback, RandomSeed()));
  for (auto endpoint : endpoints) {
    if (endpoint.port() == 0) endpoint.port(state_->port);  // all of them the one that the first was given
    state_->Listen(endpoint);
  }
  for (const auto& acceptor : state_->acceptors) state_->Accept(acceptor);
  for (int i = 0; i < threads; ++i) {
    state_->threads.emplace_back([shared = state_->shared] { shared->io.run(); });
  }
}

Server::~Server() {
  if (state_) Stop(std::chrono::nanoseconds(0));
}

uint16_t Server::port() const {
  return state_->port;
}

std::vector<std::string> Server::addresses() const {
  return state_->addresses;
}

int Server::connections() const {
  return state_->shared->CountOpen();
}

void Server::Adopt(int descriptor) {
  tcp::socket socket(asio::make_strand(state_->shared->io));
  boost::system::error_code error;
  if (state_->shared->IsStopping()) Fail(ErrorCode::kBusy, "the server is stopping");
  socket.assign(tcp::v4(), descriptor, error);
  if (error) Fail(ErrorCode::kEnvironment, "the socket cannot be taken over: {}", error.message());
  StartConnection(state_->shared, std::move(socket), "", /*crowded=*/false);
}

void Server::Stop(std::chrono::nanoseconds grace) {
  const std::lock_guard only(state_->stopping);
  if (std::exchange(state_->stopped, true)) return;
  Shared& shared = *state_->shared;
  const auto deadline = std::chrono::steady_clock::now() + grace;
  for (const auto& acceptor : state_->acceptors) {
    asio::post(acceptor->get_executor(), [acceptor] {
      boost::system::error_code ignored;
      acceptor->close(ignored);
    });
  }
  {
    const std::lock_guard lock(shared.mutex);
    shared.stopping = true;
  }
  for (const auto& connection : shared.Open()) connection->Stop();
  {
    std::unique_lock lock(shared.mutex);
    shared.changed.wait_until(lock, deadline, [&] { return shared.open.empty(); });
  }
  for (const auto& connection : shared.Open()) connection->Cut();
  state_->work.reset();
  for (auto& thread : state_->threads) thread.join();
  shared.files.join();
}

}  // namespace edgellm::http
