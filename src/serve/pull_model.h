// Pulling into the model store: the hub that the environment names, the store's names and places. The pull itself is
// hub/pull.h.
#pragma once

#include <string>
#include <string_view>

#include "hub/pull.h"
#include "serve/model_store.h"

namespace edgellm {

/// A model that a user names, on the hub of EDGELLM_HUB, else HF_ENDPOINT, else https://huggingface.co.
/// Throws as ParseHubName, and for a name that the store cannot hold.
HubSource FindHubSource(std::string_view name);

/// With the token of HF_TOKEN, for that hub alone.
DownloadOptions DefaultDownloadOptions(const HubSource& source);

/// Into the store under `name`. False when the store's model is the same already. Throws as Pull.
bool PullModel(const ModelStore& store, const HubSource& source, std::string_view name, const DownloadOptions& options,
               const PullListener& listener);

}  // namespace edgellm
