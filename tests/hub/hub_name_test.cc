// What people type, and what is meant by it.
#include "hub/hub_name.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace edgellm {
namespace {

TEST(HubName, Repositories) {
  for (const char* text : {"owner/model", "hf.co/owner/model", "HF.co/owner/model", "huggingface.co/owner/model",
                           "https://huggingface.co/owner/model", "https://hf.co/owner/model/",
                           "https://huggingface.co/owner/model/tree/main"}) {
    const HubSource source = ParseHubName(text);
    EXPECT_EQ(source.repository, "owner/model") << text;
    EXPECT_EQ(source.endpoint, "https://huggingface.co") << text;
    EXPECT_EQ(source.choice, "") << text;
    EXPECT_EQ(source.revision, "main") << text;
    EXPECT_EQ(source.name, "owner/model") << text;
  }
}

TEST(HubName, ChoicesAndRevisions) {
  EXPECT_EQ(ParseHubName("hf.co/o/m:Q4_K_M").choice, "Q4_K_M");
  EXPECT_EQ(ParseHubName("hf.co/o/m:Q4_K_M").name, "o/m:Q4_K_M");
  EXPECT_EQ(ParseHubName("o/m:sub/x-Q8_0.gguf").choice, "sub/x-Q8_0.gguf");
  EXPECT_EQ(ParseHubName("o/m:sub/x-Q8_0.gguf").name, "o/m:x-Q8_0");
  EXPECT_EQ(ParseHubName("o/m:sub/x-Q8_0-00001-of-00003.gguf").name, "o/m:x-Q8_0");
  EXPECT_EQ(ParseHubName("o/m:latest").name, "o/m");
  EXPECT_EQ(ParseHubName("https://huggingface.co/o/m:Q8_0").choice, "Q8_0");
  const HubSource page = ParseHubName("https://huggingface.co/o/m/blob/refs%2Fpr%2F1/a%20b.gguf");
  EXPECT_EQ(page.revision, "refs/pr/1");
  EXPECT_EQ(page.choice, "a b.gguf");
  EXPECT_EQ(page.name, "o/m:a-b");
  EXPECT_EQ(ParseHubName("https://huggingface.co/o/m/tree/v2").revision, "v2");
}

TEST(HubName, OtherHubs) {
  const HubSource source = ParseHubName("o/m", "http://127.0.0.1:8080/");
  EXPECT_EQ(source.endpoint, "http://127.0.0.1:8080");
  EXPECT_EQ(ParseHubName("http://127.0.0.1:8080/o/m", "http://127.0.0.1:8080").repository, "o/m");
}

TEST(HubName, WebAddresses) {
  const HubSource file = ParseHubName("https://example.com/models/small-Q4_0.gguf?download=true#x");
  EXPECT_FALSE(file.is_repository());
  EXPECT_EQ(file.url, "https://example.com/models/small-Q4_0.gguf?download=true");
  EXPECT_EQ(file.name, "small-Q4_0");
  const HubSource folder = ParseHubName("http://example.com/models/small/");
  EXPECT_TRUE(folder.is_folder_url());
  EXPECT_EQ(folder.name, "small");
}

TEST(HubName, RefusesTheRest) {
  for (const char* text : {"", "model", "a/b/c", "/a", "a/", "../a", "o/.hidden", "o/m:", "o/m:/etc", "o m/x", "o/m\n",
                           "ftp://example.com/a.gguf", "https://", "https://huggingface.co/o", "file:///etc/passwd",
                           "https://user:secret@example.com/a.gguf", "https://huggingface.co/o/m/blob/main",
                           "https://huggingface.co/o/m/discussions/1"}) {
    EXPECT_THROW(ParseHubName(text), Error) << text;
  }
}

}  // namespace
}  // namespace edgellm
