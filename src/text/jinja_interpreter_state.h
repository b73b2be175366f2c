// The interpreter's guards: what is set up on the way into a block or an expression and undone on the way out, also
// when an error passes through. For the interpreter's own files.
#pragma once

#include <utility>

#include "base/error.h"
#include "text/jinja_interpreter.h"

namespace edgellm::text::jinja {

/// Counts evaluations inside one another, which is what the stack has to bear.
class Interpreter::Nesting {
 public:
  explicit Nesting(Interpreter& interpreter) : interpreter_(interpreter) {
    // A macro that calls itself passes through about ten evaluations each time.
    const int most = 5 * interpreter_.runtime_.limits().depth;
    if (interpreter_.nesting_ >= most) Fail(ErrorCode::kLimit, "macros and expressions nest deeper than {}", most);
    ++interpreter_.nesting_;
  }
  ~Nesting() { --interpreter_.nesting_; }
  Nesting(const Nesting&) = delete;
  Nesting& operator=(const Nesting&) = delete;

 private:
  Interpreter& interpreter_;
};

/// Sends output to a string of its own.
class Interpreter::Capture {
 public:
  Capture(Interpreter& interpreter, std::string& text)
      : interpreter_(interpreter), around_(std::exchange(interpreter.out_, &text)) {}
  ~Capture() { interpreter_.out_ = around_; }
  Capture(const Capture&) = delete;
  Capture& operator=(const Capture&) = delete;

 private:
  Interpreter& interpreter_;
  std::string* around_;
};

/// A scope for as long as the guard stands; longer where a macro looks into it.
class Interpreter::Block {
 public:
  Block(Interpreter& interpreter, Scope* parent)
      : interpreter_(interpreter),
        scope_(std::make_unique<Scope>(parent)),
        around_(std::exchange(interpreter.scope_, scope_.get())) {}
  ~Block() {
    interpreter_.scope_ = around_;
    if (scope_->captured) interpreter_.captured_scopes_.push_back(std::move(scope_));
  }
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;

 private:
  Interpreter& interpreter_;
  std::unique_ptr<Scope> scope_;
  Scope* around_;
};

}  // namespace edgellm::text::jinja
