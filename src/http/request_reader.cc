// See request_reader.h.
#include "http/request_reader.h"

#include <boost/asio/buffer.hpp>
#include <utility>

#include <fmt/format.h>

namespace edgellm::http {

namespace beast = boost::beast;

RequestReader::Progress RequestReader::Fail(int status, std::string message) {
  failure_ = {status, std::move(message)};
  return Progress::kFailed;
}

void RequestReader::Begin() {
  parser_.emplace();
  parser_->header_limit(static_cast<uint32_t>(most_head_));
  parser_->body_limit(boost::none);  // the sink counts, with the limit of the route
  parser_->eager(false);
  head_bytes_ = 0;
}

RequestReader::Progress RequestReader::ReadHead(std::string* input) {
  beast::error_code error;
  const size_t used = parser_->put(boost::asio::buffer(*input), error);
  input->erase(0, used);
  head_bytes_ += used;
  const bool incomplete = error == beast::http::error::need_more;
  const bool too_long = head_bytes_ + (incomplete ? input->size() : 0) > most_head_;
  if (too_long || error == beast::http::error::header_limit) {
    return Fail(431, fmt::format("the request's head is longer than {} bytes", most_head_));
  }
  if (error && !incomplete) {
    const bool version = error == beast::http::error::bad_version;
    return Fail(version ? 505 : 400,
                version ? "HTTP/1.0 and HTTP/1.1 are spoken here" : "this is no request of HTTP/1.1");
  }
  if (parser_->is_header_done()) return Progress::kDone;
  return used == 0 ? Progress::kWaits : Progress::kMoved;
}

RequestReader::Progress RequestReader::ReadBody(std::string* input, size_t most_waiting) {
  beast::error_code error;
  const size_t used = input->empty() ? 0 : parser_->put(boost::asio::buffer(*input), error);
  input->erase(0, used);
  if (error == beast::http::error::body_limit) {
    return Fail(413, fmt::format("the body is longer than {} bytes", body().limit));
  }
  const bool stuck = error == beast::http::error::need_more && used == 0 && input->size() >= most_waiting;
  if (stuck || (error && error != beast::http::error::need_more)) {
    return Fail(400, "the body is not sent as HTTP/1.1 has it");
  }
  if (parser_->is_done()) return Progress::kDone;
  return used == 0 ? Progress::kWaits : Progress::kMoved;
}

Request RequestReader::TakeHead(Target* target, std::string* raw_target) const {
  const auto& message = parser_->get();
  Request request;
  request.method = std::string(message.method_string());
  for (const auto& field : message) {
    std::string name(field.name_string());
    for (char& c : name) {
      if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    }
    request.headers.emplace_back(std::move(name), std::string(field.value()));
  }
  *raw_target = std::string(message.target());
  if (auto parsed = ParseTarget(*raw_target)) *target = std::move(*parsed);
  request.path = DecodePercent(target->path).value_or(target->path);
  request.query = ParseQuery(target->query);
  return request;
}

std::optional<uint64_t> RequestReader::length() const {
  const auto length = parser_->content_length();
  return length ? std::optional<uint64_t>(*length) : std::nullopt;
}

}  // namespace edgellm::http
