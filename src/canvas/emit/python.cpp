#include "canvas/emit/python.h"

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <set>

namespace canvas {

namespace {

const std::set<std::string>& reserved_names() {
  static const std::set<std::string> names = {
      // Python
      "False", "None", "True", "and", "as", "assert", "async", "await", "break", "class", "continue", "def", "del",
      "elif", "else", "except", "finally", "for", "from", "global", "if", "import", "in", "is", "lambda", "nonlocal",
      "not", "or", "pass", "raise", "return", "try", "while", "with", "yield", "match", "case", "type", "print",
      "range", "sum", "tuple", "super", "ValueError",
      // what emitted source uses
      "self", "torch", "nn", "F", "D", "H", "W", "T", "i", "j", "k", "i3", "i4", "i5", "i6", "i7", "i8", "Module",
      "shape",
      // attributes of nn.Module
      "training", "forward", "add_module", "apply", "bfloat16", "buffers", "call_super_init", "children", "compile",
      "cpu", "cuda", "double", "dump_patches", "eval", "extra_repr", "float", "get_buffer", "get_extra_state",
      "get_parameter", "get_submodule", "half", "ipu", "load_state_dict", "modules", "mtia", "named_buffers",
      "named_children", "named_modules", "named_parameters", "parameters", "register_backward_hook", "register_buffer",
      "register_forward_hook", "register_forward_pre_hook", "register_full_backward_hook",
      "register_full_backward_pre_hook", "register_load_state_dict_post_hook", "register_load_state_dict_pre_hook",
      "register_module", "register_parameter", "register_state_dict_post_hook", "register_state_dict_pre_hook",
      "requires_grad_", "set_extra_state", "set_submodule", "share_memory", "state_dict", "to", "to_empty", "train",
      "xpu", "zero_grad"};
  return names;
}

}  // namespace

std::string python_name(const std::string& name) {
  std::string stem = name;
  bool taken = name[0] == '_';
  for (; !taken && !stem.empty(); stem.pop_back()) {
    taken = reserved_names().count(stem) > 0;
    if (stem.back() != '_') break;
  }
  return taken ? name + "_" : name;
}

std::string class_name(const std::string& kernel) {
  std::string name;
  bool start = true;
  for (const unsigned char letter : kernel) {
    if (std::isalnum(letter) && letter < 128) name += static_cast<char>(start ? std::toupper(letter) : letter);
    start = !std::isalnum(letter);
  }
  if (name.empty() || std::isdigit(static_cast<unsigned char>(name[0]))) name = "Kernel" + name;
  return reserved_names().count(name) > 0 ? name + "Kernel" : name;
}

std::string join(const std::vector<std::string>& items, const std::string& separator) {
  std::string text;
  for (size_t i = 0; i < items.size(); ++i) text += (i ? separator : "") + items[i];
  return text;
}

std::string tuple(const std::vector<std::string>& items) {
  return "(" + join(items) + (items.size() == 1 ? ",)" : ")");
}

std::string tuple(const std::vector<int64_t>& items) {
  std::vector<std::string> texts;
  for (int64_t item : items) texts.push_back(std::to_string(item));
  return tuple(texts);
}

std::string one_or_tuple(const std::vector<int64_t>& items) {
  const bool equal =
      !items.empty() && std::all_of(items.begin(), items.end(), [&](int64_t item) { return item == items[0]; });
  return equal ? std::to_string(items[0]) : tuple(items);
}

std::string number(double value) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.6g", value);
  return text;
}

}  // namespace canvas
