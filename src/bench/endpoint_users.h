// Measures a server as many users meet it, over the network: streams while a long prompt is read, many clients at once,
// a prompt that requests share. Any server that has OpenAI's /v1/completions and takes prompts as ids: those have exact
// lengths and are in nobody's cache. Greedy, streamed; one thread, which takes little from a server beside it.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "base/progress.h"
#include "bench/percentiles.h"
#include "bench/serving_bench.h"

namespace edgellm {

struct EndpointUsersOptions {
  /// http or https: a server, its /v1, or its /v1/completions.
  std::string url;
  std::string model;
  std::string api_key;       // for servers that want one
  ServingBenchOptions what;  // what the engine alone is asked, too
  /// Tokens after which a stream beside the long prompt begins anew where it stood, its prompt cached, so that its own
  /// growth does not matter; 0: never.
  int turn = 256;
  int clients = 200;       // streaming at once; 0: not measured
  int client_prompt = 64;  // tokens of each one's prompt …
  int client_tokens = 64;  // … and of its answer
  double timeout = 600;    // seconds without a byte; a server may have to load its model first
};

/// Times in milliseconds, as the client sees them. Between tokens means between pieces of text: mostly a piece is one.
struct EndpointUsersResult {
  std::string url;  // where requests went

  int streams = 0, context = 0, long_prompt = 0;
  Percentiles before_ms, beside_ms, after_ms;  // between the streams' tokens, of all rounds together
  Spread p50_ratio, p99_ratio;                 // beside : before, of each round
  Spread prompt_ms, prompt_alone_ms;           // to the long prompt's first token, beside the streams and alone

  int clients = 0, client_prompt = 0, client_tokens = 0;
  int asked = 0, whole = 0;             // requests, and those answered to the end with all their tokens
  std::map<std::string, int> failures;  // why others were not: how many
  Percentiles ttft_ms, itl_ms;
  Spread tok_s;  // of all clients together, by rounds

  int users = 0, shared = 0;
  Spread first_ms;                             // of the first request over a prompt
  Percentiles one_by_one_ms, at_once_ms;       // of the others, each over the time of its round's first …
  Spread one_by_one_ratio, at_once_ratio;      // … their medians, by rounds
  Spread one_by_one_slowest, at_once_slowest;  // … and the slowest of a round
};

/// Throws Error with the address and the cause in one line, as MeasureEndpoint does; kLimit where streams end before
/// the long prompt has been read. Clients that are lost are counted, not thrown.
EndpointUsersResult MeasureEndpointUsers(const EndpointUsersOptions& options, const Progress& progress);

}  // namespace edgellm
