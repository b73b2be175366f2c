// Measures a server as a client meets it, over the network: any that speaks Ollama's API or OpenAI's. One request at a
// time, greedy, streamed. Not a load generator.
#pragma once

#include <string>
#include <vector>

#include "base/progress.h"
#include "bench/percentiles.h"

namespace edgellm {

struct EndpointOptions {
  /// http or https. A bare server is asked which API it speaks; an address that ends in /api/generate, /api/chat,
  /// /v1/completions, /v1/chat/completions or /v1 is taken at its word.
  std::string url;
  std::string model;
  std::string api_key;                    // for servers that want one
  std::vector<int> prompts = {128, 512};  // tokens; met nearly: the server counts, and its template adds
  int tokens = 64;                        // to generate for each request; a model may end earlier
  int repetitions = 3;                    // of each prompt length, after one request that is not counted
  double timeout = 300;                   // seconds without a byte; a server may have to load its model first
};

/// Of one prompt length. Times are from sending the request; rates use the server's own counts of tokens.
struct EndpointFigure {
  int asked = 0;             // tokens of the prompt, as in the options
  int prompt_tokens = 0;     // as the server counted in the last request; 0: it did not say
  int generated_tokens = 0;  // likewise, by pieces of text where it did not say
  Spread ttft_ms;            // to the first text
  Spread prompt_tok_s;       // prompt tokens / time to first text; zeros where the server did not count
  Spread decode_tok_s;       // between first and last text; zeros where only one piece came
};

struct EndpointResult {
  std::string url;                      // where requests went
  std::string api;                      // "Ollama" or "OpenAI"
  std::string server;                   // its version, where it tells one
  std::vector<EndpointFigure> figures;  // in the order of options.prompts
  Percentiles itl_ms;                   // between pieces of text, over all counted requests; mostly a piece is a token
  int pieces = 0;                       // how many times between pieces that were
};

/// Throws Error with the address and the cause in one line: kInvalidArgument for options that make no sense and
/// requests that the server refuses, kNotFound for its 404, kIo for a connection that fails, times out or is cut and
/// for failures of the server.
EndpointResult MeasureEndpoint(const EndpointOptions& options, const Progress& progress);

}  // namespace edgellm
