// The routes about models, with a store in a folder, a hub that is a function, and a client that keeps what it is sent.
#include "api/model_routes.h"

#include <atomic>
#include <sstream>
#include <thread>

#include <gtest/gtest.h>

#include "api/failure.h"
#include "api/json_text.h"
#include "api/model_json.h"
#include "base/error.h"
#include "base/file.h"
#include "base/sha256.h"
#include "model/model_file.h"
#include "tests/api/fakes.h"
#include "tests/base/temporary_folder.h"
#include "tests/model/sample_model.h"

namespace edgellm::api {
namespace {

namespace fs = std::filesystem;

class ModelRoutesTest : public ::testing::Test {
 protected:
  ModelRoutesTest() {
    services_ = std::make_shared<ModelServices>(ModelStore(folder_ / "models"));
    services_->post = [](const std::function<void()>& task) { task(); };
    services_->loaded = [this] { return loaded_; };
    services_->unload = [this](const std::string& model) {
      unloaded_.push_back(model);
      return true;
    };
    fs::create_directories(folder_ / "models");
  }

  void AddModel(const std::string& name) {
    WriteModelFile(SampleModel(WeightFormat::Parse("int4-g32")), folder_ / "models" / (name + ".edgellm"), {});
  }

  /// Sends a request to its route, as the router would.
  std::shared_ptr<FakeExchange> Send(const std::string& method, const std::string& path, const std::string& body = "",
                                     const std::string& capture = "") {
    auto exchange = std::make_shared<FakeExchange>(path, body);
    const_cast<http::Request&>(exchange->request()).captures = {capture};
    for (const auto& route : ModelRoutes()) {
      const std::string pattern(route.pattern.substr(0, route.pattern.find('{')));
      const bool variable = pattern.size() < route.pattern.size();
      if (route.method != method || (variable ? !path.starts_with(pattern) : path != pattern)) continue;
      try {
        route.handle(services_, exchange);
      } catch (...) {
        exchange->Send(ErrorReply(FailureOf(std::current_exception(), Stage::kRequest), FormOf(path)));
      }
      return exchange;
    }
    ADD_FAILURE() << "no route for " << method << " " << path;
    return exchange;
  }
  Json Body(const std::shared_ptr<FakeExchange>& exchange, int status = 200) {
    EXPECT_EQ(exchange->received().status, status) << exchange->received().body;
    EXPECT_TRUE(exchange->received().complete);
    return exchange->received().body.empty() ? Json() : Json::parse(exchange->received().body);
  }
  std::vector<std::string> Statuses(const std::shared_ptr<FakeExchange>& exchange) {
    std::vector<std::string> statuses;
    std::istringstream lines(exchange->received().body);
    for (std::string line; std::getline(lines, line);) {
      const Json json = Json::parse(line);
      statuses.push_back(json.contains("error") ? "error: " + json["error"].get<std::string>()
                                                : json["status"].get<std::string>());
    }
    return statuses;
  }
  static void Wait(const std::function<bool()>& done) {
    for (int i = 0; i < 2000 && !done(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    EXPECT_TRUE(done());
  }

  TemporaryFolder folder_;
  std::vector<LoadedModelFacts> loaded_;
  std::vector<std::string> unloaded_;
  ModelServicesPointer services_;
};

TEST_F(ModelRoutesTest, Lists) {
  AddModel("small:int4");
  AddModel("base");
  WriteText(folder_ / "models" / "broken.gguf", "no model");
  const Json tags = Body(Send("GET", "/api/tags"))["models"];
  ASSERT_EQ(tags.size(), 3u);
  for (const Json& tag : tags) {
    EXPECT_EQ(tag["name"], tag["model"]);
    EXPECT_TRUE(tag["name"] == "small:int4" || tag["name"] == "base:latest" || tag["name"] == "broken:latest");
    if (tag["name"] == "broken:latest") continue;
    EXPECT_EQ(tag["digest"].get<std::string>().size(), 64u);
    EXPECT_EQ(tag["details"]["format"], "edgellm");
    EXPECT_EQ(tag["details"]["family"], SampleConfig().family);
    EXPECT_NE(tag["details"]["parameter_size"], "");
  }
  const Json models = Body(Send("GET", "/v1/models"));
  EXPECT_EQ(models["object"], "list");
  EXPECT_EQ(models["data"][0]["id"], "base");
  EXPECT_EQ(Body(Send("GET", "/v1/models/x", "", "base"))["object"], "model");
  EXPECT_EQ(Body(Send("GET", "/v1/models/x", "", "absent"), 404)["error"]["code"], "model_not_found");
}

TEST_F(ModelRoutesTest, TellsWhatIsLoaded) {
  AddModel("base");
  LoadedModelFacts facts;
  facts.name = "base";
  facts.stored = *services_->store.Find("base");
  facts.bytes = 1000;
  facts.context = 4096;
  facts.expires = kWallTime;
  loaded_.push_back(facts);
  facts.expires.reset();
  loaded_.push_back(facts);
  const Json models = Body(Send("GET", "/api/ps"))["models"];
  EXPECT_EQ(models[0]["size"], 1000);
  EXPECT_EQ(models[0]["context_length"], 4096);
  EXPECT_EQ(models[0]["expires_at"], "2026-01-01T00:00:00.123456789Z");
  EXPECT_TRUE(models[1]["expires_at"].is_null());
}

TEST_F(ModelRoutesTest, CreatesShowsCopiesAndDeletes) {
  AddModel("base");
  const auto created = Send("POST", "/api/create",
                            R"({"model":"mine","from":"base","system":"Be brief.","parameters":{"temperature":0.5,
                                "stop":["a","b"]},"messages":[{"role":"user","content":"Hi"}],"license":"MIT"})");
  EXPECT_EQ(Statuses(created).back(), "success");
  const Json shown = Body(Send("POST", "/api/show", R"({"model":"mine"})"));
  EXPECT_EQ(shown["system"], "Be brief.");
  EXPECT_EQ(shown["license"], "MIT");
  EXPECT_NE(shown["parameters"].get<std::string>().find("temperature"), std::string::npos);
  EXPECT_NE(shown["modelfile"].get<std::string>().find("FROM base\n"), std::string::npos);
  EXPECT_NE(shown["modelfile"].get<std::string>().find("MESSAGE user"), std::string::npos);
  EXPECT_EQ(shown["model_info"]["general.architecture"], SampleConfig().family);
  EXPECT_EQ(shown["capabilities"][0], "completion");
  EXPECT_EQ(Body(Send("POST", "/api/copy", R"({"source":"mine","destination":"copy"})")), Json());
  EXPECT_TRUE(services_->store.Find("copy"));
  Body(Send("DELETE", "/api/delete", R"({"name":"mine"})"));
  EXPECT_EQ(unloaded_, std::vector<std::string>{"mine"});
  EXPECT_EQ(Body(Send("DELETE", "/api/delete", R"({"model":"mine"})"), 404)["error"], "model 'mine' not found");
  EXPECT_EQ(Body(Send("POST", "/api/show", R"({"model":"mine"})"), 404)["error"], "model 'mine' not found");
}

TEST_F(ModelRoutesTest, RefusesWhatMakesNoSense) {
  AddModel("base");
  WriteText(folder_ / "secret.edgellm", "weights");
  const std::tuple<const char*, const char*, std::string, int> wrong[] = {
      {"POST", "/api/show", "", 400},
      {"POST", "/api/show", "{}", 400},
      {"POST", "/api/show", "[]", 400},
      {"POST", "/api/create", R"({"model":"a"})", 400},
      {"POST", "/api/create", R"({"model":"../a","from":"base"})", 400},
      {"POST", "/api/create", R"({"model":"a","from":"absent"})", 404},
      {"POST", "/api/create", R"({"model":"a","from":")" + (folder_ / "secret.edgellm").string() + "\"}", 404},
      {"POST", "/api/create", R"({"model":"a","from":"base","parameters":{"top_q":1}})", 400},
      {"POST", "/api/create", R"({"model":"a","from":"base","adapters":{"x":"y"}})", 400},
      {"POST", "/api/create", R"({"model":"a","from":"base","quantize":"q2_K"})", 400},
      {"POST", "/api/create", R"({"model":"a","from":"base","quantize":"q4_0"})", 400},  // it is int4 already
      {"POST", "/api/create", R"({"model":"a","files":{"x.gguf":"sha256:)" + std::string(64, '0') + "\"}}", 400},
      {"POST", "/api/create", R"({"model":"a","files":{"x.gguf":"sha256:../x"}})", 400},
      {"POST", "/api/copy", R"({"source":")" + (folder_ / "secret.edgellm").string() + R"(","destination":"a"})", 404},
      {"POST", "/api/copy", R"({"source":"base","destination":"../a"})", 400},
      {"POST", "/api/pull", R"({"model":"one-word"})", 400},
      {"DELETE", "/api/delete", R"({"model":"../base"})", 404},
  };
  for (const auto& [method, path, body, status] : wrong) {
    const auto exchange = Send(method, path, body);
    EXPECT_EQ(exchange->received().status, status) << path << " " << body << " " << exchange->received().body;
    EXPECT_TRUE(Json::parse(exchange->received().body).contains("error"));
  }
  EXPECT_EQ(services_->store.List().size(), 1u);
}

TEST_F(ModelRoutesTest, BlobsBecomeModels) {
  AddModel("base");
  const std::string bytes = ReadFile(folder_ / "models" / "base.edgellm");
  const std::string digest = "sha256:" + Sha256Hex(std::as_bytes(std::span(bytes.data(), bytes.size())));
  Body(Send("GET", "/api/blobs/x", "", digest), 404);
  Body(Send("POST", "/api/blobs/x", bytes + "damaged", digest), 400);
  Body(Send("GET", "/api/blobs/x", "", "sha256:../../etc/passwd"), 400);
  EXPECT_EQ(Send("POST", "/api/blobs/x", bytes, digest)->received().status, 201);
  Body(Send("GET", "/api/blobs/x", "", digest), 200);
  Body(Send("POST", "/api/create", R"({"model":"new","stream":false,"files":{"a.edgellm":")" + digest + "\"}}"));
  EXPECT_EQ(ReadFile(services_->store.Find("new")->path), bytes);
  EXPECT_EQ(services_->store.List().size(), 2u);
}

TEST_F(ModelRoutesTest, BlobsAndSettingsBecomeAModel) {
  AddModel("base");
  const std::string bytes = ReadFile(folder_ / "models" / "base.edgellm");
  Body(Send("DELETE", "/api/delete", R"({"model":"base"})"));
  const std::string digest = "sha256:" + Sha256Hex(std::as_bytes(std::span(bytes.data(), bytes.size())));
  EXPECT_EQ(Send("POST", "/api/blobs/x", bytes, digest)->received().status, 201);
  const auto created = Send("POST", "/api/create",
                            R"({"model":"mine","files":{"a.edgellm":")" + digest +
                                R"("},"system":"Be brief.","template":"{{ messages[0].content }}","license":["MIT"],)"
                                R"("parameters":{"temperature":0.5},"messages":[{"role":"user","content":"Hi"}]})");
  EXPECT_EQ(Statuses(created),
            (std::vector<std::string>{"using existing layer " + digest, "writing manifest", "success"}));
  const Json shown = Body(Send("POST", "/api/show", R"({"model":"mine"})"));
  EXPECT_EQ(shown["system"], "Be brief.");
  EXPECT_EQ(shown["template"], "{{ messages[0].content }}");
  EXPECT_EQ(shown["license"], "MIT");
  EXPECT_EQ(shown["model_info"]["general.architecture"], SampleConfig().family);
  // What is wrong with it is found before anything is made.
  const std::string wrong = R"({"model":"bad","files":{"a.edgellm":")" + digest + R"("},"template":"{% if %}"})";
  Body(Send("POST", "/api/create", wrong), 400);
  EXPECT_EQ(services_->store.List().size(), 1u);
  // With the model goes what only it needed.
  Body(Send("DELETE", "/api/delete", R"({"model":"mine"})"));
  for (const auto& entry : fs::directory_iterator(folder_ / "models/.blobs")) {
    EXPECT_FALSE(entry.path().filename().string().starts_with("weights-")) << entry.path();
  }
}

TEST_F(ModelRoutesTest, QuantisesWhatIsSent) {
  WriteModelFile(SampleModel(WeightFormat::Parse("bf16")), folder_ / "models" / "wide.edgellm", {});
  const auto created = Send("POST", "/api/create", R"({"model":"small","from":"wide","quantize":"q8_0"})");
  EXPECT_EQ(Statuses(created).front(), "quantizing bf16 model to int8-g32") << created->received().body;
  EXPECT_EQ(Statuses(created).back(), "success");
  EXPECT_EQ(services_->store.Find("small")->path.extension(), ".edgellm");
  const Json shown = Body(Send("POST", "/api/show", R"({"model":"small"})"));
  EXPECT_EQ(shown["details"]["quantization_level"], "int8-g32");
}

TEST_F(ModelRoutesTest, PullsTellHowFarTheyAre) {
  services_->pull = [](const std::string& model, const PullListener& listener) {
    EXPECT_TRUE(model == "owner/model" || model == "hf.co/owner/model") << model;
    PullStatus status;
    listener(status);
    status.phase = PullStatus::Phase::kDownloading;
    status.progress.files = {{"m.gguf", {FileDigest::Kind::kSha256, std::string(64, 'a')}, 0, 100}};
    listener(status);
    status.progress.files[0].done = 50;
    listener(status);
    listener(status);  // nothing new
    status.phase = PullStatus::Phase::kVerifying;
    status.progress.files[0].done = 100;
    listener(status);
    status.phase = PullStatus::Phase::kPublishing;
    listener(status);
  };
  const auto streamed = Send("POST", "/api/pull", R"({"model":"owner/model"})");
  Wait([&] { return streamed->received().complete; });
  EXPECT_EQ(streamed->received().content_type, "application/x-ndjson");
  EXPECT_EQ(Statuses(streamed), (std::vector<std::string>{"pulling manifest", "pulling aaaaaaaaaaaa",
                                                          "pulling aaaaaaaaaaaa", "pulling aaaaaaaaaaaa",
                                                          "verifying sha256 digest", "writing manifest", "success"}));
  EXPECT_NE(streamed->received().body.find("\"total\":100,\"completed\":50"), std::string::npos);
  const auto whole = Send("POST", "/api/pull", R"({"name":"hf.co/owner/model","stream":false})");
  Wait([&] { return whole->received().complete; });
  EXPECT_EQ(Body(whole, 200)["status"], "success");
  services_->pull = [](const std::string&, const PullListener&) { Fail(ErrorCode::kNotFound, "no such model"); };
  const auto failed = Send("POST", "/api/pull", R"({"model":"owner/other"})");
  Wait([&] { return failed->received().complete; });
  EXPECT_EQ(Statuses(failed), std::vector<std::string>{"error: no such model"});
  const auto refused = Send("POST", "/api/pull", R"({"model":"owner/other","stream":false})");
  Wait([&] { return refused->received().complete; });
  EXPECT_EQ(Body(refused, 404)["error"], "no such model");
}

TEST_F(ModelRoutesTest, AClientThatGoesStopsListening) {
  std::atomic<bool> stopped = false, begun = false;
  services_->pull = [&](const std::string&, const PullListener& listener) {
    try {
      for (;;) {
        listener({});
        begun = true;
        std::this_thread::sleep_for(std::chrono::milliseconds(2));
      }
    } catch (const PullStopped&) {
      stopped = true;
      throw;
    }
  };
  const auto one = Send("POST", "/api/pull", R"({"model":"owner/model"})");
  const auto two = Send("POST", "/api/pull", R"({"model":"owner/model"})");
  Wait([&] { return begun.load(); });
  EXPECT_EQ(services_->pulls.running(), 1u);
  one->Leave();
  std::this_thread::sleep_for(std::chrono::milliseconds(30));
  EXPECT_FALSE(stopped);  // the other one still listens
  two->Leave();
  Wait([&] { return stopped.load(); });
}

}  // namespace
}  // namespace edgellm::api
