// See web_socket_link.h.
#include "http/web_socket_link.h"

#include <utility>

#include "base/utf8.h"

namespace edgellm::http {

WebSocketLink::WebSocketLink(Request request, size_t most_waiting)
    : request_(std::move(request)), most_waiting_(most_waiting) {}

void WebSocketLink::Wake() {
  if (woken_ || !reader_) return;
  woken_ = true;
  reader_->AnswerReady();
}

bool WebSocketLink::Send(std::string text) {
  if (!utf8::IsValid(text)) text = utf8::Sanitize(text);  // the client would have to end the connection
  const std::lock_guard lock(mutex_);
  if (closed_) return false;
  const size_t before = waiting_ + taken_;
  if (before > 0 && before + text.size() > most_waiting_) {
    closed_ = true;
    cut_ = true;
    Wake();
    return false;
  }
  waiting_ += text.size();
  messages_.push_back(std::move(text));
  Wake();
  return true;
}

void WebSocketLink::Close(uint16_t code, std::string reason) {
  constexpr size_t kLongestReason = 123;  // a control frame holds 125 bytes
  reason = utf8::Sanitize(reason);
  reason.resize(utf8::CompletePrefix(std::string_view(reason).substr(0, kLongestReason)));
  const std::lock_guard lock(mutex_);
  if (closed_) return;
  closed_ = true;
  closing_ = Closing{code, std::move(reason)};
  Wake();
}

void WebSocketLink::Attach(std::shared_ptr<AnswerReader> reader) {
  const std::lock_guard lock(mutex_);
  reader_ = std::move(reader);
  if (!messages_.empty() || closed_) Wake();
}

WebSocketLink::Part WebSocketLink::Take() {
  const std::lock_guard lock(mutex_);
  woken_ = false;
  taken_ = 0;
  Part part;
  part.cut = cut_;
  if (!messages_.empty()) {
    part.message = std::move(messages_.front());
    messages_.pop_front();
    taken_ = part.message->size();
    waiting_ -= taken_;
  } else {
    part.closing = std::exchange(closing_, std::nullopt);
  }
  return part;
}

bool WebSocketLink::IsClosed() {
  const std::lock_guard lock(mutex_);
  return closed_;
}

void WebSocketLink::Detach() {
  std::shared_ptr<AnswerReader> reader;  // goes after the lock
  const std::lock_guard lock(mutex_);
  reader = std::move(reader_);
  closed_ = true;
  messages_.clear();
  waiting_ = 0;
}

}  // namespace edgellm::http
