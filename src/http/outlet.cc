// See outlet.h.
#include "http/outlet.h"

#include <boost/asio/buffer.hpp>
#include <utility>

#include <fmt/format.h>

#include "http/status.h"

namespace edgellm::http {
namespace {

constexpr size_t kKeptRoom = size_t{64} << 10;  // more is given back after a large answer

}  // namespace

bool Outlet::Begin(const AnswerStart& start, size_t bytes, const Request& request, bool http_1_1, bool keep_alive,
                   const Headers& more) {
  const bool no_content = start.status < 200 || start.status == 204 || start.status == 304;
  bodiless_ = no_content || request.method == "HEAD";
  streamed_ = start.streamed;
  chunked_ = start.streamed && http_1_1 && !no_content;
  if (start.streamed && !http_1_1 && !bodiless_) keep_alive = false;
  status_ = start.status;
  HeadFacts facts{.status = start.status,
                  .http_1_1 = http_1_1,
                  .keep_alive = keep_alive,
                  .length = {},
                  .chunked = chunked_,
                  .content_type = no_content ? std::string_view() : start.content_type};
  if (!start.streamed && !no_content) facts.length = bytes;
  Headers headers = {{"x-request-id", request.id}};
  headers.insert(headers.end(), more.begin(), more.end());
  headers.insert(headers.end(), start.headers.begin(), start.headers.end());
  output_ += ResponseHead(facts, headers);
  return keep_alive;
}

void Outlet::AddBody(std::string_view bytes, bool end) {
  ended_ = end;
  if (bodiless_) return;
  if (!bytes.empty()) {
    if (chunked_) output_ += fmt::format("{:x}\r\n", bytes.size());
    output_ += bytes;
    if (chunked_) output_ += "\r\n";
  }
  if (end && chunked_) output_ += "0\r\n\r\n";
}

void Outlet::Reset() {
  chunked_ = bodiless_ = streamed_ = ended_ = false;
  status_ = 0;
  sent_ = 0;
}

void Outlet::Write(std::function<void(const boost::system::error_code&)> done) {
  writing_ = true;
  WriteSome(std::move(done));
}

void Outlet::WriteSome(Done done) {
  moved_ = Clock::now();
  socket_.async_write_some(
      boost::asio::buffer(output_) + written_,
      [this, done = std::move(done)](const boost::system::error_code& error, size_t count) mutable {
        sent_ += count;
        written_ += count;
        if (!error && written_ < output_.size()) return WriteSome(std::move(done));
        writing_ = false;
        written_ = 0;
        output_.clear();
        if (output_.capacity() > kKeptRoom) output_.shrink_to_fit();
        moved_ = Clock::now();
        done(error);
      });
}

}  // namespace edgellm::http
