// Small helpers on names: quoting them in messages, the default name of a made axis, and "did you mean".
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace canvas {

// "'name'".
std::string quoted(std::string_view text);

// The name in lowercase: what an axis that unfold makes is called unless the text names it.
std::string lowered(std::string text);

// The candidate of smallest edit distance, letter case aside; empty where none comes near. Example: "unfolt" gives "unfold".
std::string nearest(const std::string& name, const std::vector<std::string>& candidates);

}  // namespace canvas
