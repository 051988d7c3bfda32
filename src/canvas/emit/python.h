// Spelling of Python: names that clash with nothing, and tuples. Used by the PyTorch emitter.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace canvas {

// `name` as an attribute of a module and as a local variable: where it is a Python keyword, an attribute of nn.Module or
// a name that emitted source uses itself, or such a name with underscores behind it, one more is appended ("half" -> "half_",
// "half_" -> "half__"). Different names stay different.
std::string python_name(const std::string& name);

// "depthwise_separable" -> "DepthwiseSeparable".
std::string class_name(const std::string& kernel);

// "(1, 2)", "(1,)", "()".
std::string tuple(const std::vector<std::string>& items);
std::string tuple(const std::vector<int64_t>& items);

// "a, b".
std::string join(const std::vector<std::string>& items, const std::string& separator = ", ");

// 3 where all are 3, else "(3, 1)".
std::string one_or_tuple(const std::vector<int64_t>& items);

// Six significant digits: "0.0589256".
std::string number(double value);

}  // namespace canvas
