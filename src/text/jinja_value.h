// The values a template computes with: Python's, as far as chat templates see them. Everything but a namespace is
// immutable once built, so values share freely and cannot form cycles. Operations on values live in jinja_operators.
#pragma once

#include <concepts>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace edgellm::text::jinja {

class Dict;
class Object;
class Runtime;
struct Sequence;

struct None {};

/// "a str", "an int".
std::string WithArticle(std::string_view type_name);

/// What a missing variable or attribute gives. The hints make the error text, should the value be used after all; they
/// point into the syntax tree or at literals.
struct Undefined {
  const std::string* name = nullptr;  // what was asked for, where the source spells it
  const char* owner = nullptr;        // the type that was asked, null for a variable
  bool forbidden = false;             // a method that would change its object: jinja2's sandbox hides those
};

class Value {
 public:
  /// In the order of `Data`.
  enum class Kind { kUndefined, kNone, kBool, kInteger, kFloat, kString, kSequence, kDict, kObject };

  Value() = default;
  Value(Undefined hint) : data_(hint) {}
  Value(None none) : data_(none) {}
  template <std::same_as<bool> T>  // keeps pointers from turning into booleans
  Value(T value) : data_(value) {}
  Value(int64_t value) : data_(value) {}
  Value(double value) : data_(value) {}
  Value(std::shared_ptr<const std::string> value) : data_(std::move(value)) {}
  Value(std::shared_ptr<const Sequence> value) : data_(std::move(value)) {}
  Value(std::shared_ptr<const Dict> value) : data_(std::move(value)) {}
  Value(std::shared_ptr<Object> value) : data_(std::move(value)) {}

  Kind kind() const { return static_cast<Kind>(data_.index()); }
  bool Is(Kind kind_asked) const { return kind() == kind_asked; }
  bool IsUndefined() const { return Is(Kind::kUndefined); }
  bool IsNone() const { return Is(Kind::kNone); }
  bool IsString() const { return Is(Kind::kString); }
  bool IsSequence() const { return Is(Kind::kSequence); }
  bool IsDict() const { return Is(Kind::kDict); }
  bool IsObject() const { return Is(Kind::kObject); }
  /// Python's int, of which bool is a kind.
  bool IsIntegral() const { return Is(Kind::kInteger) || Is(Kind::kBool); }
  bool IsNumber() const { return IsIntegral() || Is(Kind::kFloat); }

  // Each of these needs the kind it names.
  const Undefined& undefined() const { return std::get<Undefined>(data_); }
  bool boolean() const { return std::get<bool>(data_); }
  double floating() const { return std::get<double>(data_); }
  const std::string& string() const { return *std::get<std::shared_ptr<const std::string>>(data_); }
  const Sequence& sequence() const { return *std::get<std::shared_ptr<const Sequence>>(data_); }
  const Dict& dict() const { return *std::get<std::shared_ptr<const Dict>>(data_); }
  Object& object() const { return *std::get<std::shared_ptr<Object>>(data_); }
  const std::shared_ptr<const Sequence>& shared_sequence() const {
    return std::get<std::shared_ptr<const Sequence>>(data_);
  }

  int64_t integer() const { return Is(Kind::kBool) ? int64_t{boolean()} : std::get<int64_t>(data_); }
  double number() const { return Is(Kind::kFloat) ? floating() : static_cast<double>(integer()); }

  /// How many containers lie inside one another, 0 for a scalar.
  int depth() const;
  /// Python's name of the type: "str", "dict_items" …
  const char* TypeName() const;
  /// The same with "a" or "an", for error texts.
  std::string TypeWithArticle() const;
  /// The same object in memory, or the same scalar: Python's `is`.
  bool SameAs(const Value& other) const;

 private:
  using Data = std::variant<Undefined, None, bool, int64_t, double, std::shared_ptr<const std::string>,
                            std::shared_ptr<const Sequence>, std::shared_ptr<const Dict>, std::shared_ptr<Object>>;
  Data data_;
};

/// Lists and what behaves much like one. Python makes generators (what most filters return) one at a time; here they
/// are made at once, and remember what they would have been, because a generator is true even when it is empty.
struct Sequence {
  enum class Kind { kList, kTuple, kRange, kItems, kKeys, kValues, kGenerator };
  Kind kind = Kind::kList;
  std::vector<Value> items;
  int depth = 1;

  bool HasLength() const { return kind != Kind::kGenerator; }
  bool HasIndex() const { return kind == Kind::kList || kind == Kind::kTuple || kind == Kind::kRange; }
};

/// A mapping that keeps the order of its keys. Keys are strings, numbers, booleans and none.
class Dict {
 public:
  using Entry = std::pair<Value, Value>;

  /// A later entry of an equal key replaces the value and keeps the place, as in Python. Throws Error(kInvalidArgument)
  /// on a key of another kind.
  explicit Dict(std::vector<Entry> entries);

  const std::vector<Entry>& entries() const { return entries_; }
  const Value* Find(const Value& key) const;
  const Value* Find(std::string_view key) const;
  int depth() const { return depth_; }

  static bool IsKey(const Value& value);

 private:
  std::vector<Entry> entries_;
  std::vector<uint32_t> order_;  // indices of entries_, sorted by key: no hash that a template could flood
  int depth_ = 1;
};

/// Arguments of a call as they were written. Names point into the syntax tree or at literals.
struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string_view, Value>> keyword;
};

/// Anything else: namespaces, loop variables, functions, macros.
class Object {
 public:
  Object() = default;
  virtual ~Object() = default;
  Object(const Object&) = delete;
  Object& operator=(const Object&) = delete;

  virtual const char* TypeName() const = 0;
  virtual std::optional<Value> Attribute(Runtime& runtime, std::string_view name);
  /// False where the object takes no attributes from {% set object.name = … %}.
  virtual bool SetAttribute(const std::string& name, Value value);
  virtual bool callable() const { return false; }
  virtual Value Call(Runtime& runtime, const Arguments& arguments);
  virtual int depth() const { return 1; }
};

}  // namespace edgellm::text::jinja
