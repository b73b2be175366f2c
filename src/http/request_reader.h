// The way in of a connection: bytes to requests, one after the other. Limits of heads and bodies, and what is no HTTP;
// no socket, no clock, and no word about who may ask. Private to src/http: it names Beast.
#pragma once

#include <boost/beast/http/parser.hpp>
#include <cstdint>
#include <optional>
#include <string>

#include "http/body.h"
#include "http/server.h"
#include "http/url.h"

namespace edgellm::http {

class RequestReader {
 public:
  /// kWaits: for more input. kMoved: some was taken, call again. kFailed: see failure().
  enum class Progress : uint8_t { kWaits, kMoved, kDone, kFailed };
  struct Failure {
    int status = 0;
    std::string message;
  };

  explicit RequestReader(size_t most_head) : most_head_(most_head) {}

  /// False between requests.
  bool begun() const { return parser_.has_value(); }
  void Begin();
  void Reset() { parser_.reset(); }

  /// Both take from the front of `input` what they have read.
  Progress ReadHead(std::string* input);
  /// `most_waiting`: of input that may wait without making sense.
  Progress ReadBody(std::string* input, size_t most_waiting);
  const Failure& failure() const { return failure_; }

  // Once the head is there.
  /// Everything but captures and body; `target` as it came goes to `raw_target`.
  Request TakeHead(Target* target, std::string* raw_target) const;
  bool http_1_1() const { return parser_->get().version() >= 11; }
  bool keep_alive() const { return parser_->keep_alive(); }
  bool chunked() const { return parser_->chunked(); }
  std::optional<uint64_t> length() const;
  /// The body is to be read now, into body().
  void ExpectBody() { parser_->eager(true); }
  BodySink& body() { return parser_->get().body(); }
  const BodySink& body() const { return parser_->get().body(); }
  /// The whole request has been read.
  bool done() const { return parser_->is_done(); }

 private:
  Progress Fail(int status, std::string message);

  const size_t most_head_;
  std::optional<boost::beast::http::request_parser<SinkBody>> parser_;
  size_t head_bytes_ = 0;
  Failure failure_;
};

}  // namespace edgellm::http
