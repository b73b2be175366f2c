// ChatTemplate over the Jinja interpreter: keeps the parsed source, and puts a position before the cause of each error.
#include "text/chat_template.h"

#include "text/jinja_interpreter.h"
#include "text/jinja_parser.h"
#include "text/jinja_source.h"

namespace edgellm::text {

struct ChatTemplate::Impl {
  Impl(std::string_view text, std::string_view name, const TemplateLimits& template_limits)
      : original(text),
        source(name, text),
        parsed(jinja::Parse(source, template_limits.depth)),
        limits(template_limits) {}

  std::string original;
  jinja::Source source;
  jinja::Template parsed;
  TemplateLimits limits;
};

ChatTemplate::ChatTemplate(std::string_view source, std::string_view name, const TemplateLimits& limits)
    : impl_(std::make_unique<Impl>(source, name, limits)) {}
ChatTemplate::ChatTemplate(ChatTemplate&&) noexcept = default;
ChatTemplate& ChatTemplate::operator=(ChatTemplate&&) noexcept = default;
ChatTemplate::~ChatTemplate() = default;

std::string ChatTemplate::Render(const nlohmann::ordered_json& context, int64_t now_unix_seconds) const {
  jinja::Runtime runtime(impl_->limits, now_unix_seconds);
  jinja::Interpreter interpreter(impl_->parsed, runtime);
  try {
    return interpreter.Render(context);
  } catch (const Error& error) {
    throw impl_->source.ErrorAt(error.code(), interpreter.offset(), error.what());
  }
}

const std::string& ChatTemplate::source() const {
  return impl_->original;
}

}  // namespace edgellm::text
