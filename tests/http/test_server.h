// A server with handlers that show one behaviour each, for the tests and fuzz targets of src/http.
#pragma once

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "http/server.h"

namespace edgellm::http {

/// Something that happens on another thread and is waited for.
class Signal {
 public:
  void Set() {
    const std::lock_guard lock(mutex_);
    ++count_;
    changed_.notify_all();
  }
  bool Wait(int count = 1, std::chrono::milliseconds patience = std::chrono::seconds(10)) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, patience, [&] { return count_ >= count; });
  }
  int count() const {
    const std::lock_guard lock(mutex_);
    return count_;
  }

 private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  int count_ = 0;
};

/// What the handlers tell, and the exchanges that they keep.
struct Observed {
  Signal gone, kept, spoken, socket_gone, logged;
  std::mutex mutex;
  std::vector<std::shared_ptr<Exchange>> exchanges;
  std::vector<std::shared_ptr<WebSocket>> sockets;
  std::vector<std::string> messages;
  std::vector<AccessRecord> log;
  std::atomic<bool> socket_busy{false};

  std::shared_ptr<Exchange> TakeExchange() {
    const std::lock_guard lock(mutex);
    auto last = std::move(exchanges.back());
    exchanges.pop_back();
    return last;
  }
  std::vector<AccessRecord> Log() {
    const std::lock_guard lock(mutex);
    return log;
  }
};

class TestListener : public WebSocketListener {
 public:
  TestListener(std::shared_ptr<WebSocket> socket, Observed* observed)
      : socket_(std::move(socket)), observed_(observed) {}

  void OnMessage(std::string text) override {
    if (text == "close") return socket_->Close(4001, "as asked");
    if (text == "throw") throw Error(ErrorCode::kInvalidArgument, "thrown");
    if (text == "flood") {
      while (socket_->Send(std::string(65536, 'f'))) {
      }
      return;
    }
    {
      const std::lock_guard lock(observed_->mutex);
      observed_->messages.push_back(text);
    }
    observed_->spoken.Set();
    socket_->Send("echo " + text);
  }
  bool IsIdle() const override { return !observed_->socket_busy; }
  void OnGone() override { observed_->socket_gone.Set(); }

 private:
  std::shared_ptr<WebSocket> socket_;
  Observed* observed_;
};

inline void SayPath(const std::shared_ptr<Exchange>& exchange) {
  std::string text = exchange->request().method + " " + exchange->request().path;
  for (const auto& capture : exchange->request().captures) text += " [" + capture + "]";
  exchange->Send({200, text, "text/plain"});
}

inline Router TestRoutes(Observed* observed) {
  Router router;
  router.Add("GET", "/hello",
             [](const auto& exchange) {
               exchange->Send({200, "hello", "text/plain"});
             },
             {.without_key = true});
  router.Add("GET", "/models/{...}", SayPath);
  router.Add("POST", "/echo", [](const auto& exchange) {
    exchange->Send({200, exchange->request().body, "text/plain"});
  });
  router.Add("POST", "/small", SayPath, {.max_body = 10});
  router.Add("GET", "/stream", [](const auto& exchange) {
    exchange->Begin(200, "text/event-stream");
    exchange->Write("one ");
    exchange->Write("two");
    exchange->End();
  });
  router.Add("GET", "/let-go", [](const auto&) {});
  router.Add("GET", "/let-go-later", [](const auto& exchange) {
    exchange->Begin(200, "text/plain");
    exchange->Write("half");
  });
  router.Add("GET", "/throw/{}", [](const auto& exchange) {
    const std::string& what = exchange->request().captures[0];
    if (what == "busy") throw Error(ErrorCode::kBusy, "full");
    if (what == "argument") throw Error(ErrorCode::kInvalidArgument, "wrong");
    if (what == "absent") throw Error(ErrorCode::kNotFound, "no such");
    if (what == "after") {
      exchange->Send({200, "sent", "text/plain"});
      throw Error(ErrorCode::kIo, "too late");
    }
    throw 7;
  });
  // Kept by the test, which answers when it wants.
  const Handler keep = [observed](const auto& exchange) {
    exchange->OnGone([observed] { observed->gone.Set(); });
    {
      const std::lock_guard lock(observed->mutex);
      observed->exchanges.push_back(exchange);
    }
    observed->kept.Set();
  };
  router.Add("GET", "/keep", keep);
  router.Add("POST", "/keep", keep);
  // Until the client has had enough.
  router.Add("GET", "/flood", [observed](const auto& exchange) {
    exchange->Begin(200, "text/plain");
    exchange->OnGone([observed] { observed->gone.Set(); });
    std::thread([exchange, observed] {
      while (exchange->Write(std::string(65536, 'x'))) {
      }
      observed->kept.Set();
    }).detach();
  });
  router.Add(
      "POST", "/file",
      [](const auto& exchange) {
        const auto path = exchange->request().body_file;
        exchange->Send({200, path.string() + " " + std::to_string(std::filesystem::file_size(path)), "text/plain"});
      },
      {.max_body = uint64_t{1} << 30, .body_to_file = true});
  router.AddWebSocket("/ws", [observed](std::shared_ptr<WebSocket> socket) -> std::unique_ptr<WebSocketListener> {
    if (socket->request().Header("x-refuse") == "yes") throw Error(ErrorCode::kNotFound, "no such session");
    const std::lock_guard lock(observed->mutex);
    observed->sockets.push_back(socket);
    return std::make_unique<TestListener>(socket, observed);
  });
  return router;
}

/// With short time-outs where `quick`.
inline ServerOptions TestOptions(Observed* observed, bool quick = false) {
  ServerOptions options;
  options.access_log = [observed](const AccessRecord& record) {
    {
      const std::lock_guard lock(observed->mutex);
      observed->log.push_back(record);
    }
    observed->logged.Set();
  };
  using std::chrono::milliseconds;
  if (quick) {
    options.timeouts = {.idle = milliseconds(150),
                        .header = milliseconds(150),
                        .body = milliseconds(150),
                        .write = milliseconds(200),
                        .linger = milliseconds(100),
                        .ping = milliseconds(100)};
  }
  return options;
}

}  // namespace edgellm::http
