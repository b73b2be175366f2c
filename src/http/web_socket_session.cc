// See web_socket_session.h. Beast does frames, masks, pings and the closing handshake; here are the limits, the order
// of things, and who is told.
#include "http/web_socket_session.h"

#include <boost/asio/dispatch.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/buffers_to_string.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/websocket/stream.hpp>
#include <optional>
#include <utility>

#include "base/utf8.h"

namespace edgellm::http {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace websocket = beast::websocket;
using asio::ip::tcp;
using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kHandshakePatience{5000};  // for ours to be taken, and for the client's good-bye
constexpr std::chrono::milliseconds kIdlePoll{50};             // while the server is stopping

class Session : public AnswerReader, public Stoppable, public std::enable_shared_from_this<Session> {
 public:
  Session(std::shared_ptr<Shared> shared, tcp::socket socket, WebSocketStart start)
      : shared_(std::move(shared)),
        stream_(std::in_place, std::move(socket)),
        executor_(stream_->get_executor()),
        write_timer_(executor_),
        stop_timer_(executor_),
        end_timer_(executor_),
        start_(std::move(start)) {}
  ~Session() override { shared_->Leave(this); }

  void Run() {
    if (!shared_->Join(this, weak_from_this())) return End();
    SetOptions();
    MakeHandshake();
    stream_->async_accept(handshake_, [self = shared_from_this()](const beast::error_code& error) {
      if (error || self->ended_) return self->End();
      self->status_ = 101;
      self->start_.link->Attach(self);
      self->Read();
    });
  }

  void AnswerReady() override {
    asio::post(executor_, [self = shared_from_this()] { self->Flush(); });
  }
  void Stop() override {
    asio::post(executor_, [self = shared_from_this()] { self->CloseWhenIdle(); });
  }
  void GiveWay() override {}  // it is never without a purpose
  void Cut() override {
    asio::post(executor_, [self = shared_from_this()] { self->Disconnect(); });
  }

 private:
  void SetOptions() {
    const ServerOptions& options = shared_->options;
    websocket::stream_base::timeout timeout{};
    timeout.handshake_timeout = kHandshakePatience;
    timeout.idle_timeout = options.timeouts.ping * 2;  // Beast pings after half of it
    timeout.keep_alive_pings = true;
    stream_->set_option(timeout);
    stream_->set_option(
        websocket::stream_base::decorator([headers = start_.headers](websocket::response_type& response) {
          for (const auto& [name, value] : headers) response.insert(name, value);
        }));
    // `this`: frames are read by operations that hold the session.
    stream_->control_callback([this](websocket::frame_type kind, beast::string_view) {
      if (kind == websocket::frame_type::close) EndWithin(shared_->options.timeouts.linger);
    });
    stream_->read_message_max(options.limits.message_bytes);
    stream_->text(true);
    stream_->auto_fragment(false);  // a message is a frame
  }

  /// The request once more, as Beast wants it.
  void MakeHandshake() {
    const Request& request = start_.link->request();
    handshake_.method(beast::http::verb::get);
    handshake_.version(11);
    handshake_.target(start_.target);
    for (const auto& [name, value] : request.headers) handshake_.insert(name, value);
  }

  void Read() {
    stream_->async_read(input_,
                        [self = shared_from_this()](const beast::error_code& error, size_t) { self->OnRead(error); });
  }

  void OnRead(const beast::error_code& error) {
    if (error || ended_) return End();
    std::string text = beast::buffers_to_string(input_.data());
    if (!stream_->got_text()) {
      start_.link->Close(websocket::close_code::unknown_data, "only text is understood");
    } else if (!utf8::IsValid(text)) {  // Beast looks, too, and overlooks some of what is broken between fragments
      start_.link->Close(websocket::close_code::bad_payload, "the text is not UTF-8");
    } else {
      try {
        start_.listener->OnMessage(std::move(text));
      } catch (const std::exception& failure) {
        start_.link->Close(websocket::close_code::internal_error, failure.what());
      } catch (...) {
        start_.link->Close(websocket::close_code::internal_error, "the message could not be answered");
      }
    }
    input_.consume(input_.size());
    // Where it is to be closed, closing reads what is left.
    if (!start_.link->IsClosed()) Read();
  }

  void Flush() {
    if (ended_ || writing_ || status_ == 0) return;
    WebSocketLink::Part part = start_.link->Take();
    if (part.cut) return Disconnect();
    if (part.message) {
      output_ = std::move(*part.message);
      Write();
    } else if (part.closing) {
      websocket::close_reason reason(part.closing->code);
      reason.reason = part.closing->reason;
      EndWithin(kHandshakePatience);
      stream_->async_close(reason, [self = shared_from_this()](const beast::error_code&) { self->Disconnect(); });
    }
  }

  void Write() {
    writing_ = true;
    write_timer_.expires_after(shared_->options.timeouts.write);
    write_timer_.async_wait([self = shared_from_this()](const beast::error_code& error) {
      if (!error && self->writing_ && Clock::now() >= self->write_timer_.expiry()) self->Disconnect();
    });
    stream_->async_write(asio::buffer(output_),
                         [self = shared_from_this()](const beast::error_code& error, size_t count) {
                           self->writing_ = false;
                           self->write_timer_.cancel();
                           self->sent_bytes_ += count;
                           if (error || self->ended_) return self->Disconnect();
                           self->Flush();
                         });
  }

  void CloseWhenIdle() {
    if (ended_) return;
    if (!start_.listener->IsIdle()) {
      stop_timer_.expires_after(kIdlePoll);
      stop_timer_.async_wait([self = shared_from_this()](const beast::error_code& error) {
        if (!error) self->CloseWhenIdle();
      });
      return;
    }
    start_.link->Close(websocket::close_code::going_away, "the server is stopping");
  }

  /// After the client's good-bye nothing is left but to close the connection, for which it is not waited long.
  void EndWithin(std::chrono::milliseconds patience) {
    end_timer_.expires_after(patience);
    end_timer_.async_wait([self = shared_from_this()](const beast::error_code& error) {
      if (!error) self->Disconnect();
    });
  }

  /// What is under way ends with an error then.
  void Disconnect() {
    if (ended_) return;
    beast::error_code ignored;
    beast::get_lowest_layer(*stream_).close(ignored);
    if (status_ != 0) End();  // else the handshake's end tells
  }

  void End() {
    if (std::exchange(ended_, true)) return;
    write_timer_.cancel();
    stop_timer_.cancel();
    end_timer_.cancel();
    start_.link->Detach();
    try {
      start_.listener->OnGone();
    } catch (...) {
      // It has nothing to say to anybody any more.
    }
    start_.listener.reset();
    stream_.reset();
    const Request& request = start_.link->request();
    shared_->Log({request.id, request.peer, request.method, start_.path, status_, sent_bytes_,
                  Clock::now() - start_.started, status_ != 0});
  }

  const std::shared_ptr<Shared> shared_;
  // Beast's operations wait for one another, and for ever when a client breaks the protocol just as it is told
  // good-bye: they end with the stream, which ends with the session's work.
  std::optional<websocket::stream<tcp::socket>> stream_;
  const asio::any_io_executor executor_;
  asio::steady_timer write_timer_, stop_timer_, end_timer_;
  WebSocketStart start_;
  beast::http::request<beast::http::empty_body> handshake_;
  beast::flat_buffer input_;
  std::string output_;
  bool writing_ = false, ended_ = false;
  int status_ = 0;  // 101 once the handshake is through
  uint64_t sent_bytes_ = 0;
};

}  // namespace

void StartWebSocket(std::shared_ptr<Shared> shared, tcp::socket socket, WebSocketStart start) {
  std::make_shared<Session>(std::move(shared), std::move(socket), std::move(start))->Run();
}

}  // namespace edgellm::http
