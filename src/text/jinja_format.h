// Python's two ways to format strings, without their rare parts: "%s" % value and "{}".format(value).
#pragma once

#include <string>

#include "text/jinja_runtime.h"
#include "text/jinja_value.h"

namespace edgellm::text::jinja {

/// %s %r %d %i %u %x %X %o %c %e %f %g %% with flags, width and precision; %(name)s with a dict.
Value FormatPercent(Runtime& runtime, const std::string& format, const Value& values);
/// {} {0} {name} {{ }}; attributes, conversions and specifications are not supported.
Value FormatBraces(Runtime& runtime, const std::string& format, const Arguments& arguments);

}  // namespace edgellm::text::jinja
