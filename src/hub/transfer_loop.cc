// See transfer_loop.h.
#include "hub/transfer_loop.h"

#include <algorithm>
#include <cctype>
#include <exception>
#include <system_error>

#include "base/error.h"
#include "base/one_line.h"
#include "hub/curl_handles.h"

namespace edgellm {
namespace {

using Clock = std::chrono::steady_clock;

/// More header lines than any server sends; a hostile one ends here.
constexpr size_t kMostHeaderBytes = size_t{256} << 10;

std::string_view Trim(std::string_view text) {
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.front())) != 0) text.remove_prefix(1);
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back())) != 0) text.remove_suffix(1);
  return text;
}

}  // namespace

std::string_view ReplyHead::Find(std::string_view name) const {
  for (const auto& [key, value] : headers) {
    if (key == name) return value;
  }
  return {};
}

struct TransferLoop::Transfer {
  std::unique_ptr<CURL, void (*)(CURL*)> curl{nullptr, curl_easy_cleanup};
  HeaderLines lines;
  std::string sent;  // the request's body
  TransferListener listener;
  ReplyHead head;
  size_t header_bytes = 0;
  bool head_told = false, stopped = false, stalled = false;
  Clock::time_point last_byte = Clock::now();
  std::exception_ptr thrown;  // exceptions may not cross libcurl: they wait here
  char reason[CURL_ERROR_SIZE] = "";

  /// True when the transfer is to go on.
  template <typename Call>
  bool Guard(const Call& call) {
    try {
      if (!call()) stopped = true;
    } catch (...) {
      thrown = std::current_exception();
    }
    return !stopped && !thrown;
  }

  bool OnHeaderLine(std::string_view line) {
    if (head_told) return true;  // a trailer
    if ((header_bytes += line.size()) > kMostHeaderBytes) return false;
    if (line.starts_with("HTTP/")) {
      head = {};  // that of a 100 or of a proxy's answer came before
      return true;
    }
    if (Trim(line).empty()) {
      curl_easy_getinfo(curl.get(), CURLINFO_RESPONSE_CODE, &head.status);
      if (head.status < 200) return true;
      head_told = true;
      return Guard([&] { return !listener.head || listener.head(head); });
    }
    if (const size_t colon = line.find(':'); colon != line.npos) {
      std::string name(Trim(line.substr(0, colon)));
      std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return std::tolower(c); });
      head.headers.emplace_back(std::move(name), Trim(line.substr(colon + 1)));
    }
    return true;
  }

  static size_t OnHeader(char* bytes, size_t, size_t count, void* self) {
    auto& transfer = *static_cast<Transfer*>(self);
    transfer.last_byte = Clock::now();
    return transfer.OnHeaderLine({bytes, count}) ? count : 0;
  }

  static size_t OnBody(char* bytes, size_t, size_t count, void* self) {
    auto& transfer = *static_cast<Transfer*>(self);
    transfer.last_byte = Clock::now();
    const auto hand_on = [&] { return !transfer.listener.body || transfer.listener.body({bytes, count}); };
    return transfer.Guard(hand_on) ? count : 0;
  }

  TransferEnd End(CURLcode result) const {
    TransferEnd end;
    end.stopped = stopped;
    end.complete = result == CURLE_OK && !stopped && !stalled;
    if (end.complete || stopped) return end;
    long cause = 0;
    curl_easy_getinfo(curl.get(), CURLINFO_OS_ERRNO, &cause);
    if (stalled) {
      end.failure = "nothing came for too long";
    } else if (result == CURLE_COULDNT_CONNECT && cause != 0) {
      end.failure = "cannot connect: " + std::generic_category().message(static_cast<int>(cause));
    } else {
      end.failure = OneLine(reason[0] != '\0' ? reason : curl_easy_strerror(result));
    }
    return end;
  }
};

TransferLoop::TransferLoop(const TransferTimeouts& timeouts)
    : timeouts_(timeouts), multi_(nullptr, [](void* multi) { return static_cast<int>(curl_multi_cleanup(multi)); }) {
  InitialiseCurl();
  multi_.reset(curl_multi_init());
  if (!multi_) Fail(ErrorCode::kEnvironment, "libcurl does not start");
}

TransferLoop::~TransferLoop() {
  for (const auto& [handle, transfer] : transfers_) curl_multi_remove_handle(multi_.get(), handle);
}

std::unique_ptr<TransferLoop::Transfer> TransferLoop::Prepare(const std::string& url,
                                                              const std::vector<std::string>& headers,
                                                              TransferListener listener) const {
  auto transfer = std::make_unique<Transfer>();
  transfer->curl.reset(curl_easy_init());
  if (!transfer->curl) Fail(ErrorCode::kEnvironment, "libcurl does not start");
  transfer->listener = std::move(listener);
  for (const auto& line : headers) transfer->lines.Add(line);
  CURL* curl = transfer->curl.get();
  curl_easy_setopt(curl, CURLOPT_URL, url.c_str());
  curl_easy_setopt(curl, CURLOPT_HTTPHEADER, transfer->lines.get());
  curl_easy_setopt(curl, CURLOPT_USERAGENT, "edgellm/" EDGELLM_VERSION);
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  // Ranges side by side over one connection would share its window: several connections are what makes them fast.
  curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
  curl_easy_setopt(curl, CURLOPT_BUFFERSIZE, 256L << 10);
  curl_easy_setopt(curl, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
  curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(timeouts_.connect.count()));
  curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, transfer->reason);
  curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, &Transfer::OnHeader);
  curl_easy_setopt(curl, CURLOPT_HEADERDATA, transfer.get());
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, &Transfer::OnBody);
  curl_easy_setopt(curl, CURLOPT_WRITEDATA, transfer.get());
  if (IsLoopback(url)) curl_easy_setopt(curl, CURLOPT_PROXY, "");  // no detour to this machine
  return transfer;
}

void TransferLoop::Start(const std::string& url, const std::vector<std::string>& headers, TransferListener listener) {
  Begin(Prepare(url, headers, std::move(listener)));
}

void TransferLoop::Post(const std::string& url, const std::vector<std::string>& headers, std::string body,
                        TransferListener listener) {
  auto transfer = Prepare(url, headers, std::move(listener));
  transfer->sent = std::move(body);
  curl_easy_setopt(transfer->curl.get(), CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(transfer->sent.size()));
  curl_easy_setopt(transfer->curl.get(), CURLOPT_POSTFIELDS, transfer->sent.c_str());
  Begin(std::move(transfer));
}

void TransferLoop::Begin(std::unique_ptr<Transfer> transfer) {
  CURL* curl = transfer->curl.get();
  if (curl_multi_add_handle(multi_.get(), curl) != CURLM_OK) Fail(ErrorCode::kEnvironment, "libcurl takes no transfer");
  transfers_.emplace(curl, std::move(transfer));
}

void TransferLoop::Poll(std::chrono::milliseconds longest) {
  int running = 0;
  curl_multi_poll(multi_.get(), nullptr, 0, static_cast<int>(longest.count()), nullptr);
  curl_multi_perform(multi_.get(), &running);
  int left = 0;
  while (CURLMsg* message = curl_multi_info_read(multi_.get(), &left)) {
    if (message->msg == CURLMSG_DONE) Finish(message->easy_handle, message->data.result);
  }
  StopStalled();
}

void TransferLoop::Finish(void* handle, int result) {
  const auto found = transfers_.find(handle);
  EDGELLM_CHECK(found != transfers_.end(), "a transfer that nobody started");
  const auto transfer = std::move(found->second);
  transfers_.erase(found);
  curl_multi_remove_handle(multi_.get(), handle);
  if (transfer->thrown) std::rethrow_exception(transfer->thrown);
  if (transfer->listener.ended) transfer->listener.ended(transfer->End(static_cast<CURLcode>(result)));
}

void TransferLoop::StopStalled() {
  const auto deadline = Clock::now() - timeouts_.stall;
  std::vector<void*> stalled;
  for (const auto& [handle, transfer] : transfers_) {
    // Connecting has its own limit, and comes first.
    if (transfer->last_byte + timeouts_.connect < deadline || (transfer->head_told && transfer->last_byte < deadline)) {
      transfer->stalled = true;
      stalled.push_back(handle);
    }
  }
  for (void* handle : stalled) Finish(handle, CURLE_OPERATION_TIMEDOUT);
}

}  // namespace edgellm
