// What `bench --users` prints of an engine and of a server: tables for people, JSON for programs.
#pragma once

#include <string>

#include <nlohmann/json_fwd.hpp>

#include "bench/endpoint_users.h"
#include "bench/serving_bench.h"

namespace edgellm::app {

std::string UsersText(const ServingBenchResult& result, const std::string& model);
std::string UsersText(const EndpointUsersResult& result, const std::string& model);

/// `commit`: of this program. Parts that were not measured are not there.
nlohmann::ordered_json UsersJson(const ServingBenchResult& result, const std::string& model, const std::string& commit);
nlohmann::ordered_json UsersJson(const EndpointUsersResult& result, const std::string& model,
                                 const std::string& commit);

}  // namespace edgellm::app
