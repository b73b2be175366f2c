// See model_routes.h. Handlers read the request where they are called, and files on another thread.
#include "api/model_routes.h"

#include <algorithm>
#include <mutex>
#include <thread>

#include "api/failure.h"
#include "api/json_input.h"
#include "api/model_json.h"
#include "base/error.h"
#include "base/file.h"
#include "base/sha256.h"
#include "serve/blob_store.h"
#include "serve/create_model.h"
#include "serve/model_manifest.h"
#include "serve/pull_model.h"

namespace edgellm::api {
namespace {

namespace fs = std::filesystem;
using ExchangePointer = std::shared_ptr<http::Exchange>;

constexpr const char* kLines = "application/x-ndjson";

/// Answers with what was thrown. `model`: as the request names it; then it is one that could not be found or loaded.
void SendFailure(http::Exchange& exchange, const std::exception_ptr& failure, std::string_view model = {}) {
  const Stage stage = model.empty() ? Stage::kRequest : Stage::kLoad;
  exchange.Send(ErrorReply(FailureOf(failure, stage, model), FormOf(exchange.request().path)));
}

void SendJson(http::Exchange& exchange, const Json& json) {
  http::Reply reply;
  reply.body = Dump(json);
  exchange.Send(std::move(reply));
}

void SendEmpty(http::Exchange& exchange, int status) {
  http::Reply reply;
  reply.status = status;
  exchange.Send(std::move(reply));
}

/// Runs `work` on another thread; what it throws becomes the answer.
void Post(const ModelServicesPointer& services, ExchangePointer exchange, std::string model,
          std::function<void(ModelServices&, http::Exchange&)> work) {
  services->post([services, exchange = std::move(exchange), model = std::move(model), work = std::move(work)] {
    try {
      work(*services, *exchange);
    } catch (...) {
      SendFailure(*exchange, std::current_exception(), model);
    }
  });
}

/// Ollama says "model" today and said "name" once.
std::string ModelField(const Fields& fields) {
  return fields.Has("model") ? fields.NeedName("model") : fields.NeedName("name");
}

/// Null where the files cannot be read: such a model is listed without its facts.
std::shared_ptr<const ModelSummary> TrySummary(ModelServices& services, const StoredModel& model) {
  try {
    return services.summaries.Get(services.store, model);
  } catch (const std::exception&) {
    return nullptr;
  }
}

StoredModel Need(const ModelStore& store, const std::string& name) {
  if (auto stored = store.Find(name)) return *stored;
  Fail(ErrorCode::kNotFound, "model '{}' not found", name);
}

void Tags(const ModelServicesPointer& services, ExchangePointer exchange) {
  Post(services, std::move(exchange), "", [](ModelServices& s, http::Exchange& e) {
    Json models = Json::array();
    auto stored = s.store.List();
    // The newest first, as clients show them.
    std::stable_sort(stored.begin(), stored.end(),
                     [](const auto& a, const auto& b) { return a.modified > b.modified; });
    for (const auto& model : stored) models.push_back(TagJson(model, TrySummary(s, model).get()));
    SendJson(e, {{"models", std::move(models)}});
  });
}

void Ps(const ModelServicesPointer& services, ExchangePointer exchange) {
  Post(services, std::move(exchange), "", [](ModelServices& s, http::Exchange& e) {
    Json models = Json::array();
    for (const auto& facts : s.loaded()) models.push_back(LoadedJson(facts, TrySummary(s, facts.stored).get()));
    SendJson(e, {{"models", std::move(models)}});
  });
}

void Show(const ModelServicesPointer& services, ExchangePointer exchange) {
  const Json body = ParseBody(exchange->request().body);
  const std::string name = ModelField(Fields(body, ""));
  Post(services, std::move(exchange), name, [name](ModelServices& s, http::Exchange& e) {
    const StoredModel stored = Need(s.store, name);
    const ModelSource source = ModelSourceAt(s.store, stored.path);
    Modelfile modelfile;
    modelfile.from = stored.name;
    if (source.manifest) modelfile = ToModelfile(*source.manifest);
    SendJson(e, ShowJson(stored, *s.summaries.Get(s.store, stored), modelfile));
  });
}

void Copy(const ModelServicesPointer& services, ExchangePointer exchange) {
  const Json body = ParseBody(exchange->request().body);
  const Fields fields(body, "");
  const std::string source = fields.NeedName("source"), destination = fields.NeedName("destination");
  services->store.PathFor(destination);  // what cannot be a name is the request's fault
  Post(services, std::move(exchange), source, [=](ModelServices& s, http::Exchange& e) {
    Need(s.store, source);  // names only: no files of this machine
    s.store.Copy(source, destination);
    SendEmpty(e, 200);
  });
}

void Delete(const ModelServicesPointer& services, ExchangePointer exchange) {
  const Json body = ParseBody(exchange->request().body);
  const std::string name = ModelField(Fields(body, ""));
  const auto stored = services->store.Find(name);
  if (stored && stored->bundled) services->store.Remove(name);  // throws: the request's fault
  Post(services, std::move(exchange), name, [name](ModelServices& s, http::Exchange& e) {
    s.store.Remove(name);
    if (s.unload) s.unload(name);
    BlobStore(s.store).Clean();
    SendEmpty(e, 200);
  });
}

// ---- pull ----

/// One client that waits for a pull.
class PullSession : public std::enable_shared_from_this<PullSession> {
 public:
  PullSession(ExchangePointer exchange, bool stream) : exchange_(std::move(exchange)), stream_(stream) {}

  void Start(ModelServices& services, const std::string& key, PullJobs::Work work) {
    if (stream_) exchange_->Begin(200, kLines);
    auto ticket =
        services.pulls.Join(key, std::move(work),
                            {[self = shared_from_this()](const PullStatus& status) { self->Say(status); },
                             [self = shared_from_this()](std::exception_ptr failure) { self->End(failure); }});
    {
      const std::lock_guard lock(mutex_);
      if (!over_) ticket_ = std::move(ticket);
    }
    ticket.reset();
    // The download goes on only if somebody else listens.
    exchange_->OnGone([self = shared_from_this()] { self->Leave(); });
  }

 private:
  void Say(const PullStatus& status) {
    if (!stream_) return;
    std::string lines = lines_.Next(status);
    if (!lines.empty() && !exchange_->Write(std::move(lines))) Leave();
  }

  void End(const std::exception_ptr& failure) {
    if (stream_) {
      // Which model it was stands in the text.
      exchange_->Write(failure ? ErrorBody(FailureOf(failure, Stage::kAnswer), ErrorForm::kOllama) + "\n"
                               : Dump({{"status", "success"}}) + "\n");
      exchange_->End();
    } else if (failure) {
      const Failure told = FailureOf(failure, Stage::kRequest);
      exchange_->Send(told.code == ErrorCode::kNotFound ? ErrorReply(404, told.message, ErrorForm::kOllama)
                                                        : ErrorReply(told, ErrorForm::kOllama));
    } else {
      SendJson(*exchange_, {{"status", "success"}});
    }
    Leave();
  }

  void Leave() {
    std::unique_ptr<PullJobs::Ticket> ticket;
    {
      const std::lock_guard lock(mutex_);
      over_ = true;
      ticket = std::move(ticket_);
    }
  }

  ExchangePointer exchange_;
  bool stream_;
  PullLines lines_;  // of the job's thread
  std::mutex mutex_;
  bool over_ = false;
  std::unique_ptr<PullJobs::Ticket> ticket_;
};

void Pull(const ModelServicesPointer& services, ExchangePointer exchange) {
  const Json body = ParseBody(exchange->request().body);
  const Fields fields(body, "");
  const std::string model = ModelField(fields);
  const HubSource source = FindHubSource(model);
  const auto work = [services = services.get(), model](const PullListener& listener) {
    if (services->pull) return services->pull(model, listener);
    const HubSource from = FindHubSource(model);
    PullModel(services->store, from, from.name, DefaultDownloadOptions(from), listener);
  };
  std::make_shared<PullSession>(std::move(exchange), fields.Boolean("stream").value_or(true))
      ->Start(*services, NameInStore(source.name), work);
}

// ---- create ----

/// Status lines as they come; before the first one a failure is an answer of its own.
void RunCreate(ModelServices& services, http::Exchange& exchange, const CreateRequest& request) {
  bool begun = false;
  const auto say = [&](const std::string& status) {
    if (!request.stream) return;
    if (!begun) exchange.Begin(200, kLines);
    begun = true;
    exchange.Write(Dump({{"status", status}}) + "\n");  // made to its end also when the client goes
  };
  try {
    CreateModel(services.store, request.options, say);
    if (!request.stream) return SendJson(exchange, {{"status", "success"}});
    say("success");
  } catch (const std::exception& failure) {
    if (!begun) {
      // What was sent is at fault: a template that does not parse, files that are damaged.
      const auto* error = dynamic_cast<const Error*>(&failure);
      if (error == nullptr || error->code() != ErrorCode::kCorrupt) throw;
      throw Error(ErrorCode::kInvalidArgument, error->what());
    }
    exchange.Write(ErrorBody(FailureOf(std::current_exception(), Stage::kAnswer), ErrorForm::kOllama) + "\n");
  }
  exchange.End();
}

void Create(const ModelServicesPointer& services, ExchangePointer exchange) {
  CreateRequest request = ReadCreateRequest(exchange->request().body);
  services->store.PathFor(request.options.name);
  // Beside answers in the making: half of the machine.
  request.options.threads = std::max(1, static_cast<int>(std::thread::hardware_concurrency()) / 2);
  Post(services, std::move(exchange), "", [request](ModelServices& s, http::Exchange& e) {
    // Names only: no files of this machine.
    const std::string& from = request.options.modelfile.from;
    if (!from.empty() && !s.store.Find(from)) {
      return e.Send(ErrorReply(404, fmt::format("model '{}' not found", from), ErrorForm::kOllama));
    }
    RunCreate(s, e, request);
  });
}

std::string DigestCapture(const http::Request& request) {
  const std::string digest = request.captures.empty() ? "" : request.captures[0];
  if (!IsBlobDigest(digest)) Refuse("digest", "a blob is named \"sha256:\" and 64 hexadecimal digits in small letters");
  return digest;
}

void FindBlob(const ModelServicesPointer& services, ExchangePointer exchange) {
  const bool there = BlobStore(services->store).Has(DigestCapture(exchange->request()));
  SendEmpty(*exchange, there ? 200 : 404);
}

void TakeBlob(const ModelServicesPointer& services, ExchangePointer exchange) {
  const std::string digest = DigestCapture(exchange->request());
  Post(services, std::move(exchange), "", [digest](ModelServices& s, http::Exchange& e) {
    const http::Request& request = e.request();
    fs::path file = request.body_file;
    if (file.empty()) {  // a body that is empty goes to no file
      file = s.store.WorkFolder() / (".upload-" + Sha256Hex(std::as_bytes(std::span(request.id))));
      fs::create_directories(file.parent_path());
      FileWriter writer(file);
      writer.Write(request.body);
      writer.Commit();
    }
    try {
      BlobStore(s.store).Take(file, digest);
    } catch (...) {
      std::error_code ignored;
      fs::remove(file, ignored);
      throw;
    }
    SendEmpty(e, 201);
  });
}

// ---- OpenAI ----

void OpenAiModels(const ModelServicesPointer& services, ExchangePointer exchange) {
  Post(services, std::move(exchange), "", [](ModelServices& s, http::Exchange& e) {
    Json data = Json::array();
    for (const auto& model : s.store.List()) data.push_back(OpenAiModelJson(model));
    SendJson(e, {{"object", "list"}, {"data", std::move(data)}});
  });
}

void OpenAiModel(const ModelServicesPointer& services, ExchangePointer exchange) {
  const std::string name = exchange->request().captures.empty() ? "" : exchange->request().captures[0];
  Post(services, std::move(exchange), name, [name](ModelServices& s, http::Exchange& e) {
    StoredModel model = Need(s.store, name);
    model.name = name;  // as it was asked for
    SendJson(e, OpenAiModelJson(model));
  });
}

constexpr ModelRoute kRoutes[] = {
    {"GET", "/api/tags", false, Tags},
    {"GET", "/api/ps", false, Ps},
    {"POST", "/api/show", false, Show},
    {"POST", "/api/pull", false, Pull},
    {"POST", "/api/create", false, Create},
    {"POST", "/api/copy", false, Copy},
    {"DELETE", "/api/delete", false, Delete},
    {"GET", "/api/blobs/{}", false, FindBlob},  // and HEAD, which is what clients send
    {"POST", "/api/blobs/{}", true, TakeBlob},
    {"GET", "/v1/models", false, OpenAiModels},
    {"GET", "/v1/models/{...}", false, OpenAiModel},
};

}  // namespace

std::span<const ModelRoute> ModelRoutes() {
  return kRoutes;
}

ModelServicesPointer ModelServicesOf(ModelHost& host, std::function<void(std::function<void()>)> post) {
  auto services = std::make_shared<ModelServices>(host.store());
  services->loaded = [&host] { return host.Loaded(); };
  services->unload = [&host](const std::string& model) { return host.Unload(model); };
  services->post = std::move(post);
  services->post([store = host.store()] {
    try {
      BlobStore(store).Clean();  // what an ended server left
    } catch (const std::exception&) {
      // A store that cannot be written to is told to who asks for something.
    }
  });
  return services;
}

}  // namespace edgellm::api
