// Limits, and the making of values under them.
#include "text/jinja_runtime.h"

#include <algorithm>

#include "base/error.h"

namespace edgellm::text::jinja {

Value Runtime::Text(std::string text) {
  CheckLength(text.size());
  ChargeText(text.size());
  return Value(std::make_shared<const std::string>(std::move(text)));
}

Value Runtime::MakeSequence(Sequence::Kind kind, std::vector<Value> items) {
  Charge(items.size());
  int depth = 1;
  for (const Value& item : items) depth = std::max(depth, 1 + item.depth());
  CheckDepth(depth);
  return Value(std::make_shared<const Sequence>(Sequence{kind, std::move(items), depth}));
}

Value Runtime::MakeDict(std::vector<Dict::Entry> entries) {
  Charge(2 * entries.size());
  for (const Dict::Entry& entry : entries) CheckDepth(1 + entry.second.depth());
  return Value(std::make_shared<const Dict>(std::move(entries)));
}

Value Runtime::Keep(std::unique_ptr<Object> object) {
  Charge(1);
  kept_.push_back(std::move(object));
  return Value(std::shared_ptr<Object>(std::shared_ptr<void>(), kept_.back().get()));
}

void Runtime::CheckDepth(int depth) const {
  if (depth > limits_.depth) Fail(ErrorCode::kLimit, "values nest deeper than {}", limits_.depth);
}

void Runtime::FailSteps() const {
  Fail(ErrorCode::kLimit, "the template takes more than {} steps", limits_.steps);
}

void Runtime::FailLength() const {
  Fail(ErrorCode::kLimit, "a text grows longer than {} bytes", limits_.output_bytes);
}

}  // namespace edgellm::text::jinja
