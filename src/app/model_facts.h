// Facts about a model that several verbs print: sizes, formats, what one token costs.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "model/model.h"

namespace edgellm::app {

struct ModelFacts {
  uint64_t parameters = 0;
  uint64_t weight_bytes = 0;           // as the file holds them
  uint64_t bytes_per_token = 0;        // weights that one decoded token reads
  uint64_t kv_bytes_per_position = 0;  // with f16 keys and values
  std::map<std::string, uint64_t> bytes_by_format;
  std::string main_format;  // the format that holds the most bytes
};

ModelFacts FactsOf(const Model& model);

/// Name and value, in the order in which `show` prints them.
std::vector<std::pair<std::string, std::string>> ModelRows(const Model& model);

/// What `show --json` prints: details, parameters, template, provenance.
nlohmann::ordered_json ShowJson(const Model& model);

/// The sections that `show` prints.
std::string ShowText(const Model& model);

}  // namespace edgellm::app
