// The parser's side of tokenizer_json.h: a SAX handler that keeps the big parts flat and builds a document of the rest.
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "text/tokenizer_json.h"

namespace edgellm::text {
namespace {

using nlohmann::json;

constexpr size_t kMaxDepth = 64;

class Handler {
 public:
  Handler(RawTokenizerJson& raw, std::string_view name, bool bare_vocabulary)
      : raw_(raw), name_(name), bare_vocabulary_(bare_vocabulary) {}

  json TakeRest() { return std::move(root_); }

  bool null() { return Value(nullptr); }
  bool boolean(bool value) { return Value(value); }
  bool number_integer(json::number_integer_t value) { return Number(value); }
  bool number_unsigned(json::number_unsigned_t value) {
    return Number(value > static_cast<uint64_t>(INT64_MAX) ? INT64_MAX : static_cast<int64_t>(value), value);
  }
  bool number_float(json::number_float_t value, const std::string&) { return Value(value); }
  bool binary(json::binary_t&) { return true; }
  bool string(std::string& value) {
    if (place_ == Place::kMerges) return MergeString(value);
    return Value(std::move(value));
  }

  bool start_object(size_t) {
    if (++depth_ > kMaxDepth) Fail(ErrorCode::kLimit, "{}: nested more than {} deep", name_, kMaxDepth);
    if (skipping_ > 0 || place_ == Place::kSkipped) return ++skipping_, true;
    if (place_ != Place::kDocument) Bad("an object");
    if (AtBigMember("vocab") || (bare_vocabulary_ && depth_ == 1)) {
      place_ = Place::kVocabulary;
      return true;
    }
    return Open(json::object());
  }
  bool key(std::string& key) {
    if (skipping_ == 0) key_ = std::move(key);
    return true;
  }
  bool end_object() { return Close(); }
  bool start_array(size_t) {
    if (++depth_ > kMaxDepth) Fail(ErrorCode::kLimit, "{}: nested more than {} deep", name_, kMaxDepth);
    if (skipping_ > 0 || place_ == Place::kSkipped) return ++skipping_, true;
    if (AtBigMember("vocab")) {
      raw_.vocabulary_is_list = true;
      place_ = Place::kSkipped;
      return true;
    }
    if (AtBigMember("merges")) {
      place_ = Place::kMerges;
      return true;
    }
    if (place_ == Place::kMerges && pair_.empty() && !in_pair_) {
      in_pair_ = true;
      return true;
    }
    if (place_ != Place::kDocument) Bad("a list");
    return Open(json::array());
  }
  bool end_array() {
    if (place_ == Place::kMerges && in_pair_) {
      --depth_;
      in_pair_ = false;
      if (pair_.size() != 2) Bad("a list that is not a pair");
      const size_t begin = raw_.merge_bytes.size();
      raw_.merge_bytes += pair_[0];
      const size_t middle = raw_.merge_bytes.size();
      raw_.merge_bytes += pair_[1];
      raw_.merges.push_back({begin, middle, raw_.merge_bytes.size()});
      pair_.clear();
      return true;
    }
    return Close();
  }
  [[noreturn]] bool parse_error(size_t position, const std::string&, const json::exception&) {
    Fail(ErrorCode::kCorrupt, "{}: not valid JSON at byte {}", name_, position);
  }

 private:
  enum class Place { kDocument, kVocabulary, kMerges, kSkipped };

  [[noreturn]] void Bad(const char* what) const {
    Fail(ErrorCode::kCorrupt, "{}: {} in {}", name_, what, place_ == Place::kMerges ? "the merges" : "the vocabulary");
  }

  /// The value that starts now is the root's member model.`member`.
  bool AtBigMember(const char* member) const {
    return place_ == Place::kDocument && !bare_vocabulary_ && stack_.size() == 2 && open_keys_.back() == "model" &&
           key_ == member && stack_.back()->is_object();
  }

  json* Put(json value) {
    if (stack_.empty()) {
      root_ = std::move(value);
      return &root_;
    }
    json& parent = *stack_.back();
    if (parent.is_array()) {
      parent.push_back(std::move(value));
      return &parent.back();
    }
    return &(parent[key_] = std::move(value));
  }

  bool Open(json value) {
    open_keys_.push_back(stack_.empty() ? std::string() : key_);
    stack_.push_back(Put(std::move(value)));
    return true;
  }

  bool Close() {
    --depth_;
    if (skipping_ > 0) return --skipping_, true;
    if (place_ != Place::kDocument) {
      place_ = Place::kDocument;
      return true;
    }
    stack_.pop_back();
    open_keys_.pop_back();
    return true;
  }

  bool Value(json value) {
    if (skipping_ > 0 || place_ == Place::kSkipped) return true;
    if (place_ != Place::kDocument) Bad("a value of the wrong type");
    Put(std::move(value));
    return true;
  }

  bool Number(int64_t value, json as_json) {
    if (place_ != Place::kVocabulary) return Value(std::move(as_json));
    if (value < 0 || value >= kMaxTokenId) {
      Fail(ErrorCode::kCorrupt, "{}: token \"{}\" has the absurd id {}", name_, key_, value);
    }
    switch (raw_.vocabulary.Add(static_cast<int32_t>(value), key_)) {
      case Vocabulary::AddResult::kAdded:
        return true;
      case Vocabulary::AddResult::kIdTaken:
        Fail(ErrorCode::kCorrupt, "{}: id {} has two tokens, \"{}\" and \"{}\"", name_, value,
             raw_.vocabulary.Text(static_cast<int32_t>(value)), key_);
      case Vocabulary::AddResult::kTextTaken:
        Fail(ErrorCode::kCorrupt, "{}: token \"{}\" has two ids, {} and {}", name_, key_, raw_.vocabulary.Find(key_),
             value);
    }
    return true;
  }
  bool Number(int64_t value) { return Number(value, json(value)); }

  bool MergeString(const std::string& value) {
    if (!in_pair_) {
      AddMergeLine(value, name_, raw_);
    } else if (pair_.size() == 2) {
      Bad("a list of more than two");
    } else {
      pair_.push_back(value);
    }
    return true;
  }

  RawTokenizerJson& raw_;
  std::string_view name_;
  bool bare_vocabulary_;
  Place place_ = Place::kDocument;
  size_t depth_ = 0, skipping_ = 0;
  json root_;
  std::vector<json*> stack_;
  std::vector<std::string> open_keys_;  // the key under which each open container stands
  std::string key_;
  std::vector<std::string> pair_;
  bool in_pair_ = false;
};

}  // namespace

json ParseTokenizerJson(std::string_view text, std::string_view name, bool bare_vocabulary, RawTokenizerJson& raw) {
  // The parser takes a zero byte for the end of the text.
  if (text.find('\0') != text.npos) Fail(ErrorCode::kCorrupt, "{}: not valid JSON: a zero byte stands in it", name);
  Handler handler(raw, name, bare_vocabulary);
  json::sax_parse(text.begin(), text.end(), &handler);
  return handler.TakeRest();
}

void AddMergeLine(std::string_view line, std::string_view name, RawTokenizerJson& raw) {
  const size_t space = line.find(' ');
  if (space == 0 || space == std::string_view::npos || space + 1 == line.size() ||
      line.find(' ', space + 1) != std::string_view::npos) {
    Fail(ErrorCode::kCorrupt, "{}: merge \"{}\" is not two tokens with a space between", name, line);
  }
  const size_t begin = raw.merge_bytes.size();
  raw.merge_bytes.append(line.substr(0, space)).append(line.substr(space + 1));
  raw.merges.push_back({begin, begin + space, raw.merge_bytes.size()});
}

std::vector<Merge> ResolveMerges(const RawTokenizerJson& raw, std::string_view name) {
  std::vector<Merge> merges;
  merges.reserve(raw.merges.size());
  const std::string_view bytes = raw.merge_bytes;
  for (const auto& text : raw.merges) {
    const auto find = [&](size_t begin, size_t end) {
      const std::string_view token = bytes.substr(begin, end - begin);
      const int32_t id = raw.vocabulary.Find(token);
      if (id < 0) Fail(ErrorCode::kCorrupt, "{}: merge {} names the unknown token \"{}\"", name, merges.size(), token);
      return id;
    };
    const auto rank = static_cast<uint32_t>(merges.size());
    merges.push_back({find(text.begin, text.middle), find(text.middle, text.end), find(text.begin, text.end), rank});
  }
  return merges;
}

}  // namespace edgellm::text
