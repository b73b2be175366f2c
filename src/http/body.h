// Where the body of a request goes: into a string, into a file, or nowhere. The reader that Beast's parser wants.
#pragma once

#include <algorithm>
#include <boost/asio/buffer.hpp>
#include <boost/beast/core/buffers_range.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/message.hpp>
#include <boost/optional.hpp>
#include <cstdint>
#include <string>

namespace edgellm::http {

struct BodySink {
  std::string bytes;  // all of it, or what has not been written to the file yet
  uint64_t limit = 0;
  uint64_t count = 0;    // that came
  bool discard = false;  // the answer is known already: the body is only read to get past it
};

struct SinkBody {
  using value_type = BodySink;

  class reader {
   public:
    template <bool isRequest, class Fields>
    reader(boost::beast::http::header<isRequest, Fields>&, value_type& sink) : sink_(sink) {}

    void init(const boost::optional<uint64_t>& length, boost::beast::error_code& error) {
      error = {};
      // What is announced may never come: room is made for a part of it only.
      if (length && !sink_.discard) sink_.bytes.reserve(static_cast<size_t>(std::min<uint64_t>(*length, 1 << 20)));
    }

    template <class Buffers>
    size_t put(const Buffers& buffers, boost::beast::error_code& error) {
      error = {};
      size_t taken = 0;
      for (const auto piece : boost::beast::buffers_range_ref(buffers)) {
        if (piece.size() > sink_.limit - sink_.count) {
          error = boost::beast::http::error::body_limit;
          return taken;
        }
        if (!sink_.discard) sink_.bytes.append(static_cast<const char*>(piece.data()), piece.size());
        sink_.count += piece.size();
        taken += piece.size();
      }
      return taken;
    }

    void finish(boost::beast::error_code& error) { error = {}; }

   private:
    value_type& sink_;
  };
};

}  // namespace edgellm::http
