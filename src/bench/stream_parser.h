// What a server streams while it generates, taken apart as it arrives: lines of JSON (Ollama) or server-sent events
// (OpenAI and those compatible with it). Bytes in, events out; opens no connection and keeps no time.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace edgellm {

enum class StreamFormat {
  kJsonLines,     // application/x-ndjson
  kServerEvents,  // text/event-stream (WHATWG HTML, 9.2), data fields only
};

/// One object of the stream, as far as a measurement wants to know it.
struct StreamEvent {
  std::string text;                                        // generated, thoughts included; often empty
  std::optional<int64_t> prompt_tokens, generated_tokens;  // the server's own counts; most events have none
  bool operator==(const StreamEvent&) const = default;
};

class StreamParser {
 public:
  /// `name` opens every error text: the address.
  StreamParser(StreamFormat format, std::string name);

  /// The events that these bytes complete; lines may be cut anywhere. Bytes after the end of the stream are ignored.
  /// Throws Error(kIo) with the server's message where that reports a failure, Error(kCorrupt) for what is not JSON or
  /// not its expected shape, Error(kLimit) for a line or an event of more than 1 MiB.
  std::vector<StreamEvent> Push(std::string_view bytes);

  /// The connection ended: what a last line without a newline still says. Throws as Push does, and Error(kIo) when the
  /// server had not said that it is done.
  std::vector<StreamEvent> Finish();

 private:
  void ReadLine(std::string_view line, std::vector<StreamEvent>* events);
  void ReadEventLine(std::string_view line, std::vector<StreamEvent>* events);
  void ReadObject(std::string_view text, std::vector<StreamEvent>* events);

  StreamFormat format_;
  std::string name_;
  std::string line_;       // begun, not ended
  std::string data_;       // of the server-sent event that is not ended
  bool ended_ = false;     // "done": true, or [DONE]
  bool finished_ = false;  // a finish reason came; counts may follow
};

/// The message in the body of an HTTP error, in one line: {"error": "…"}, {"error": {"message": "…"}}, or the start of
/// whatever else it is.
std::string ServerMessage(std::string_view body);

/// Throws what the status of an HTTP error says: kNotFound for 404, kInvalidArgument for other faults of the request,
/// kIo for those of the server.
[[noreturn]] void FailStatus(const std::string& url, long status, std::string_view body);

}  // namespace edgellm
