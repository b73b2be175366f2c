// What people call a model of a hub, taken apart: OWNER/REPOSITORY[:CHOICE], hf.co/…, pages and files of the hub by
// address, and any other web address. Asks nobody.
#pragma once

#include <string>
#include <string_view>

namespace edgellm {

struct HubSource {
  std::string endpoint;           // "https://huggingface.co"; empty for a web address that is no hub's
  std::string repository;         // "owner/repository"
  std::string choice;             // a quantisation ("Q4_K_M"), a file, "safetensors"; empty: what is best
  std::string revision = "main";  // branch, tag or commit
  std::string url;   // where there is no repository: of a file, or of a folder (then with a '/' at its end)
  std::string name;  // what the model is to be called

  bool is_repository() const { return !repository.empty(); }
  bool is_folder_url() const { return !url.empty() && url.back() == '/'; }
};

inline constexpr const char* kUsualHub = "https://huggingface.co";

/// Throws Error(kInvalidArgument) for what is no such name.
HubSource ParseHubName(std::string_view text, std::string_view endpoint = kUsualHub);

/// True for what can only be a hub's name or an address: it has an owner or a scheme.
bool LooksLikeHubName(std::string_view text);

}  // namespace edgellm
