// See json_lines_session.h.
#include "serve/json_lines_session.h"

#include <algorithm>
#include <condition_variable>
#include <map>
#include <mutex>
#include <utility>
#include <vector>

namespace edgellm {
namespace {

using Json = nlohmann::ordered_json;

/// One request of the session.
struct Open {
  std::function<void()> cancel;    // empty until the model has taken it
  bool started = false;            // the line that says so has been written …
  std::vector<std::string> early;  // … and what comes after it has not
  int unfinished = 1;              // answers
  std::vector<AnswerPiece> whole;  // of each answer, where the client wants no pieces
};

void Append(AnswerPiece* whole, const AnswerPiece& piece) {
  whole->content += piece.content;
  whole->thinking += piece.thinking;
  whole->tool_calls.insert(whole->tool_calls.end(), piece.tool_calls.begin(), piece.tool_calls.end());
  whole->tokens.insert(whole->tokens.end(), piece.tokens.begin(), piece.tokens.end());
}

enum class Reading : uint8_t { kLine, kTooLong, kEnd };

Reading ReadLine(std::istream& in, std::string* line) {
  line->clear();
  std::streambuf& from = *in.rdbuf();
  constexpr int kEnd = std::char_traits<char>::eof();
  bool too_long = false;
  for (int c = from.sbumpc(); c != kEnd; c = from.sbumpc()) {
    if (c == '\n') return too_long ? Reading::kTooLong : Reading::kLine;
    too_long = too_long || line->size() >= kMostLineBytes;
    if (!too_long) line->push_back(static_cast<char>(c));
  }
  if (too_long) return Reading::kTooLong;
  return line->empty() ? Reading::kEnd : Reading::kLine;
}

}  // namespace

struct JsonLinesSession::State : std::enable_shared_from_this<State> {
  State(ServedModel& served, Write to) : model(served), write(std::move(to)) {}

  // All but Take, Start and Embed under the lock.
  void Say(const std::string& line) {
    if (write) write(line);
  }
  void Tell(Open& request, std::string line) {
    if (request.started) return Say(line);
    request.early.push_back(std::move(line));
  }

  void Take(JsonLineRequest request);
  void Start(const JsonLineRequest& request, GenerateRequest& generate);
  void Embed(const JsonLineRequest& request, const EmbedRequest& embed);
  void OnPiece(const std::string& key, const Json& id, const AnswerPiece& piece);
  void OnEnd(const std::string& key, const Json& id, const AnswerEnd& end);
  void Close(const std::string& key);

  ServedModel& model;
  std::mutex mutex;  // of all that follows
  std::condition_variable closed;
  Write write;
  std::map<std::string, Open> open;  // by the id as it is written
};

void JsonLinesSession::State::Close(const std::string& key) {
  open.erase(key);
  closed.notify_all();
}

void JsonLinesSession::State::OnPiece(const std::string& key, const Json& id, const AnswerPiece& piece) {
  const std::lock_guard lock(mutex);
  const auto found = open.find(key);
  if (found == open.end()) return;
  std::vector<AnswerPiece>& whole = found->second.whole;
  if (whole.empty() || piece.prompt) {
    Tell(found->second, PieceLine(id, piece));
  } else {
    Append(&whole[static_cast<size_t>(piece.sample)], piece);
  }
}

void JsonLinesSession::State::OnEnd(const std::string& key, const Json& id, const AnswerEnd& end) {
  const std::lock_guard lock(mutex);
  const auto found = open.find(key);
  if (found == open.end()) return;
  std::vector<AnswerPiece>& whole = found->second.whole;
  Tell(found->second, EndLine(id, end, whole.empty() ? nullptr : &whole[static_cast<size_t>(end.sample)]));
  if (--found->second.unfinished == 0 && found->second.started) Close(key);
}

void JsonLinesSession::State::Start(const JsonLineRequest& request, GenerateRequest& generate) {
  const std::string key = request.id.dump();
  const auto self = shared_from_this();
  AnswerListener listener;
  listener.piece = [self, key, id = request.id](const AnswerPiece& piece) { self->OnPiece(key, id, piece); };
  listener.ended = [self, key, id = request.id](const AnswerEnd& end) { self->OnEnd(key, id, end); };
  const ServedModel::Ticket ticket = model.Start(std::move(generate), std::move(listener));
  const std::lock_guard lock(mutex);
  Open& started = open.at(key);
  started.cancel = [this, id = ticket.id] { model.Cancel(id); };
  started.started = true;
  Say(StartLine(request.id, ticket.prompt, request.warnings));
  for (const std::string& line : std::exchange(started.early, {})) Say(line);
  if (started.unfinished == 0) Close(key);
}

void JsonLinesSession::State::Embed(const JsonLineRequest& request, const EmbedRequest& embed) {
  const std::string key = request.id.dump();
  auto cancel = model.Embed(
      embed, [self = shared_from_this(), key, id = request.id](Embeddings embeddings, std::exception_ptr failure) {
        const std::lock_guard lock(self->mutex);
        try {
          if (failure) std::rethrow_exception(failure);
          self->Say(EmbeddingsLine(id, embeddings));
        } catch (const Error& error) {
          self->Say(ErrorLine(id, error.code(), error.what()));
        }
        self->Close(key);
      });
  const std::lock_guard lock(mutex);
  if (const auto found = open.find(key); found != open.end()) found->second.cancel = std::move(cancel);
}

void JsonLinesSession::State::Take(JsonLineRequest request) {
  const std::string key = request.id.dump();
  if (std::holds_alternative<JsonLineRequest::Cancel>(request.work)) {
    const std::lock_guard lock(mutex);
    if (const auto found = open.find(key); found != open.end() && found->second.cancel) found->second.cancel();
    return;
  }
  auto* generate = std::get_if<GenerateRequest>(&request.work);
  {
    const std::lock_guard lock(mutex);
    const auto [place, fresh] = open.try_emplace(key);
    if (!fresh) Fail(ErrorCode::kInvalidArgument, "a request with the id {} is open already", key);
    if (generate != nullptr) {
      const int samples = std::max(1, std::min(generate->options.samples, kMostSamples));
      place->second.unfinished = samples;
      if (!request.stream) place->second.whole.resize(static_cast<size_t>(samples));
    }
  }
  try {
    if (generate != nullptr) {
      Start(request, *generate);
    } else {
      Embed(request, std::get<EmbedRequest>(request.work));
    }
  } catch (...) {
    const std::lock_guard lock(mutex);
    Close(key);
    throw;
  }
}

JsonLinesSession::JsonLinesSession(ServedModel& model, Write write)
    : state_(std::make_shared<State>(model, std::move(write))) {}

JsonLinesSession::~JsonLinesSession() {
  CancelAll();
  const std::lock_guard lock(state_->mutex);
  state_->write = nullptr;
}

void JsonLinesSession::OnLine(std::string_view line) {
  if (line.find_first_not_of(" \t\r") == std::string_view::npos) return;
  try {
    state_->Take(ParseJsonLine(line));
  } catch (const Error& error) {
    const std::lock_guard lock(state_->mutex);
    state_->Say(ErrorLine(JsonLineId(line), error.code(), error.what()));
  }
}

void JsonLinesSession::Refuse(ErrorCode code, std::string_view message) {
  const std::lock_guard lock(state_->mutex);
  state_->Say(ErrorLine(nullptr, code, message));
}

void JsonLinesSession::Wait() {
  std::unique_lock lock(state_->mutex);
  state_->closed.wait(lock, [this] { return state_->open.empty(); });
}

void JsonLinesSession::CancelAll() {
  const std::lock_guard lock(state_->mutex);
  for (auto& [key, open] : state_->open) {
    if (open.cancel) open.cancel();
  }
}

void RunJsonLines(ServedModel& model, std::istream& in, std::ostream& out) {
  JsonLinesSession session(model, [&out](std::string_view line) { (out << line << '\n').flush(); });
  std::string line;
  while (out) {
    const Reading reading = ReadLine(in, &line);
    if (reading == Reading::kEnd) break;
    if (reading == Reading::kLine) session.OnLine(line);
    if (reading == Reading::kTooLong) {
      session.Refuse(ErrorCode::kLimit, fmt::format("a line is longer than {} bytes", kMostLineBytes));
    }
  }
  if (!out) session.CancelAll();
  session.Wait();
}

}  // namespace edgellm
