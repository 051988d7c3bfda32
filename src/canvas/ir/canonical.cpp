#include "canvas/ir/canonical.h"

#include <algorithm>
#include <cctype>
#include <functional>
#include <map>
#include <numeric>

#include "canvas/base/random.h"
#include "canvas/ir/axis_classes.h"
#include "canvas/ir/builder.h"
#include "canvas/ir/labels.h"
#include "canvas/ir/normal_order.h"
#include "canvas/ir/renames.h"

namespace canvas {

namespace {

constexpr size_t kLongestOrdered = 256;  // steps; a kernel of more keeps its order

constexpr const char* kVariableNames[] = {"r", "g", "q", "p", "t", "u", "v", "z"};

// What a node is told, with lists that have no order sorted.
Attributes sorted_attributes(const Node& node) {
  Attributes attributes = node.attributes;
  if (ordered(node)) return attributes;
  std::sort(attributes.from.begin(), attributes.from.end());
  std::sort(attributes.items.begin(), attributes.items.end(),
            [](const AxisItem& a, const AxisItem& b) { return a.axis < b.axis; });
  return attributes;
}

// Whether no element of each value is negative, whatever the input and the parameters.
std::vector<bool> not_negative(const std::vector<Node>& nodes) {
  std::vector<bool> known(nodes.size(), false);
  for (size_t i = 1; i < nodes.size(); ++i) {
    const Node& node = nodes[i];
    const auto is_known = [&](int input) { return known[static_cast<size_t>(input)]; };
    known[i] = node.primitive->is(kNotNegative) || ((node.primitive->is(kKeepsSign) || node.primitive->is(kView)) &&
                                                    std::all_of(node.inputs.begin(), node.inputs.end(), is_known));
  }
  return known;
}

// Replacement of each value by an equal one, by the identities that properties declare: f(f(x)) = f(x), f(f(x)) = x, f(x, x) = x,
// relu(x) = |x| = x where x cannot be negative, and one value for two parameterless nodes that are the same.
std::vector<int> simplified(const std::vector<Node>& nodes) {
  std::vector<int> same(nodes.size());
  std::iota(same.begin(), same.end(), 0);
  const auto operands = [&](const Node& node) {
    std::vector<int> inputs;
    for (int input : node.inputs) inputs.push_back(same[static_cast<size_t>(input)]);
    if (commutes(node)) std::sort(inputs.begin(), inputs.end());
    return inputs;
  };
  const std::vector<bool> positive = not_negative(nodes);
  for (size_t i = 1; i < nodes.size(); ++i) {
    const Node& node = nodes[i];
    const int first = same[static_cast<size_t>(node.inputs[0])];
    const Node& before = nodes[static_cast<size_t>(first)];
    if (node.inputs.size() > 1) {
      const std::vector<int> inputs = operands(node);
      if (node.primitive->is(kIdempotent) && inputs[0] == inputs[1]) same[i] = first;
    } else if (node.primitive->is(kIdempotent) && node.primitive->is(kNotNegative) &&
               positive[static_cast<size_t>(node.inputs[0])]) {
      same[i] = first;
    } else if (node.primitive == before.primitive) {
      if (node.primitive->is(kIdempotent)) same[i] = first;
      if (node.primitive->is(kInvolution)) same[i] = same[static_cast<size_t>(before.inputs[0])];
    }
    if (same[i] != static_cast<int>(i) || node.primitive->weighted()) continue;
    for (size_t j = 1; j < i && same[i] == static_cast<int>(i); ++j) {
      if (nodes[j].primitive != node.primitive || operands(nodes[j]) != operands(node)) continue;
      if (sorted_attributes(nodes[j]) == sorted_attributes(node)) same[i] = same[j];
    }
  }
  if (same.back() == 0) same.back() = static_cast<int>(nodes.size()) - 1;  // a kernel has at least one primitive
  return same;
}

// The nodes that the result needs after simplification, in their old order.
Program needed(Program program) {
  const std::vector<int> same = simplified(program.nodes);
  std::vector<bool> needed(program.nodes.size(), false);
  const int result = same.back();
  needed[static_cast<size_t>(result)] = needed[0] = true;
  for (size_t i = program.nodes.size(); i-- > 0;) {
    if (!needed[i]) continue;
    for (int input : program.nodes[i].inputs) needed[static_cast<size_t>(same[static_cast<size_t>(input)])] = true;
  }
  Program kept;
  std::vector<int> place(program.nodes.size(), -1);
  for (size_t i = 0; i < program.nodes.size(); ++i) {
    if (!needed[i]) continue;
    place[i] = static_cast<int>(kept.nodes.size());
    kept.origin.push_back(program.origin[i]);
    kept.nodes.push_back(std::move(program.nodes[i]));
    for (int& input : kept.nodes.back().inputs) input = place[static_cast<size_t>(same[static_cast<size_t>(input)])];
  }
  return kept;
}

// Puts nodes, operands, lists and names into canonical order and rebuilds the kernel.
class Canonicaliser {
 public:
  Canonicaliser(const Kernel& kernel, Program program)
      : kernel_(kernel),
        nodes_(std::move(program.nodes)),
        origin_(std::move(program.origin)),
        labels_(labels(nodes_, kernel.signature())),
        classes_(nodes_) {
    const int last = static_cast<int>(nodes_.size()) - 1;
    for (const Axis& axis : kernel.signature().from) names_[classes_.find(0, axis.name)] = axis.name;
    for (const Axis& axis : kernel.signature().to) names_[classes_.find(last, axis.name)] = axis.name;
  }

  Canonical run() {
    Builder builder(kernel_.signature());
    std::vector<int> place(nodes_.size(), -1);
    place[0] = 0;
    Canonical result{kernel_, {origin_[0]}};
    for (int value : order()) {
      Node node = arranged(value);
      for (int& input : node.inputs) input = place[static_cast<size_t>(input)];
      builder.variables() = variables_;
      const auto added = builder.add(*node.primitive, node.inputs, node.attributes);
      require(static_cast<bool>(added), "the canonical form of a legal kernel is not legal");
      place[static_cast<size_t>(value)] = *added;
      result.origin.push_back(origin_[static_cast<size_t>(value)]);
    }
    auto finished = std::move(builder).finish(kernel_.name());
    require(static_cast<bool>(finished), "the canonical form of a legal kernel does not verify");
    result.kernel = std::move(*finished);
    return result;
  }

 private:
  uint64_t label(int value) const { return labels_.values[static_cast<size_t>(value)]; }
  uint64_t axis_label(int value, const std::string& name) const {
    const int position = find_axis(nodes_[static_cast<size_t>(value)].axes, name);
    return position < 0 ? 0 : labels_.axes[static_cast<size_t>(value)][static_cast<size_t>(position)];
  }

  // Depth first from the result, operands before users; of commuting operands the smaller label first.
  std::vector<int> order() const {
    std::vector<int> sequence;
    std::vector<bool> seen(nodes_.size(), false);
    seen[0] = true;
    const std::function<void(int)> visit = [&](int value) {
      if (seen[static_cast<size_t>(value)]) return;
      seen[static_cast<size_t>(value)] = true;
      for (int input : sorted_inputs(nodes_[static_cast<size_t>(value)])) visit(input);
      sequence.push_back(value);
    };
    visit(static_cast<int>(nodes_.size()) - 1);
    return sequence;
  }

  std::vector<int> sorted_inputs(const Node& node) const {
    std::vector<int> inputs = node.inputs;
    if (commutes(node))
      std::stable_sort(inputs.begin(), inputs.end(), [&](int a, int b) { return label(a) < label(b); });
    return inputs;
  }

  Node arranged(int value) {
    Node node = nodes_[static_cast<size_t>(value)];
    const int operand = node.inputs[0];
    Attributes& a = node.attributes;
    if (!ordered(node)) {
      std::stable_sort(a.to.begin(), a.to.end(), [&](const Axis& x, const Axis& y) {
        return axis_label(value, x.name) < axis_label(value, y.name);
      });
      std::stable_sort(a.items.begin(), a.items.end(), [&](const AxisItem& x, const AxisItem& y) {
        return axis_label(operand, x.axis) < axis_label(operand, y.axis);
      });
    }
    for (std::string& name : a.from) name = operand_name(node, name);
    for (std::string& name : a.per) name = operand_name(node, name);
    for (Axis& axis : a.to) axis = {new_name(value, axis), renamed(axis.size), axis.role};
    for (AxisItem& item : a.items) {
      item.axis = operand_name(node, item.axis);
      if (!item.made.empty()) item.made = new_name(value, {item.made, Size(), Role::kWindow}, item.axis);
      item.amount = renamed(item.amount);
    }
    node.inputs = sorted_inputs(node);
    return node;
  }

  std::string operand_name(const Node& node, const std::string& name) {
    for (int input : node.inputs) {
      const size_t axis_class = classes_.find(input, name);
      if (axis_class != SIZE_MAX) return names_.at(axis_class);
    }
    return name;
  }

  std::string new_name(int value, const Axis& axis, const std::string& window_of = "") {
    std::string& name = names_[classes_.find(value, axis.name)];
    if (!name.empty()) return name;
    const bool window = !window_of.empty();
    std::string stem = window ? window_of.substr(0, 1) : "c";
    stem[0] = static_cast<char>(std::tolower(static_cast<unsigned char>(stem[0])));
    std::string made;
    do {
      const int number = ++used_[stem];
      made = stem + (window && number == 1 ? "" : std::to_string(number));
    } while (has_axis(kernel_.signature().from, made) || has_axis(kernel_.signature().to, made));
    return name = made;
  }

  // The size in canonical variables: those met for the first time are numbered by label.
  Size renamed(const Size& size) {
    std::vector<int> fresh;
    for (int v = kFirstDynamic; v < kMaxVariables; ++v) {
      if (size.exponent(v) != 0 && !canonical_.count(v)) fresh.push_back(v);
    }
    std::stable_sort(fresh.begin(), fresh.end(), [&](int a, int b) {
      return labels_.variables[static_cast<size_t>(a)] < labels_.variables[static_cast<size_t>(b)];
    });
    for (int v : fresh) canonical_[v] = variables_.add(kVariableNames[variables_.names.size()]);
    Size result = Size::constant(size.numerator(), size.denominator());
    for (int v = 0; v < kMaxVariables; ++v) {
      if (size.exponent(v) != 0)
        result = result * Size::variable(is_dynamic(v) ? canonical_.at(v) : v, size.exponent(v));
    }
    return result;
  }

  const Kernel& kernel_;
  std::vector<Node> nodes_;
  std::vector<int> origin_;
  Labels labels_;
  AxisClasses classes_;
  std::map<size_t, std::string> names_;
  std::map<std::string, int> used_;
  std::map<int, int> canonical_;
  Variables variables_;
};

}  // namespace

Canonical canonical(const Kernel& kernel) {
  Program program{kernel.nodes(), std::vector<int>(kernel.nodes().size())};
  std::iota(program.origin.begin(), program.origin.end(), 0);
  program = needed(std::move(program));
  while (drop_renames(program, kernel.signature())) program = needed(std::move(program));
  if (program.nodes.size() <= kLongestOrdered) {
    program = own_names(program, kernel.signature());
    while (auto next = normal_order(program, kernel.signature(), kernel.variables()))
      program = needed(std::move(*next));
  }
  return Canonicaliser(kernel, std::move(program)).run();
}

namespace {

class Hasher {
 public:
  void put(uint64_t value) {
    high_ = combine(high_, value);
    low_ = combine(low_ + 1, value ^ 0x5bd1e995ull);
  }
  void put(std::string_view text) {
    put(text.size());
    for (char letter : text) put(static_cast<uint64_t>(static_cast<unsigned char>(letter)));
  }
  void put(const Axes& axes) {
    put(axes.size());
    for (const Axis& axis : axes) {
      put(std::string_view(axis.name));
      put(axis.size.hash());
    }
  }
  void put(const std::vector<std::string>& names) {
    put(names.size());
    for (const std::string& name : names) put(std::string_view(name));
  }
  Digest digest() const { return {high_, low_}; }

 private:
  uint64_t high_ = 1;
  uint64_t low_ = 2;
};

}  // namespace

std::string hash(const Kernel& kernel) { return hash_of(canonical(kernel)); }

std::string hash_of(const Canonical& form) { return to_string(digest_of(form)); }

std::string to_string(const Digest& digest) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (uint64_t word : {digest.first, digest.second}) {
    for (int shift = 60; shift >= 0; shift -= 4) text += kDigits[(word >> shift) & 15];
  }
  return text;
}

Digest digest_of(const Canonical& canonical_form) {
  const Kernel& form = canonical_form.kernel;
  Hasher hasher;
  hasher.put(form.signature().from);
  hasher.put(form.signature().to);
  for (size_t i = 1; i < form.nodes().size(); ++i) {
    const Node& node = form.nodes()[i];
    const Attributes& a = node.attributes;
    hasher.put(std::string_view(node.primitive->name));
    for (int input : node.inputs) hasher.put(static_cast<uint64_t>(input));
    hasher.put(a.from);
    hasher.put(a.to);
    hasher.put(a.per);
    for (const AxisItem& item : a.items) {
      hasher.put(std::string_view(item.axis));
      hasher.put(std::string_view(item.made));
      hasher.put(item.amount.hash());
      hasher.put(static_cast<uint64_t>(static_cast<int64_t>(item.offset)));
    }
    hasher.put(static_cast<uint64_t>(a.mode));
    hasher.put(static_cast<uint64_t>(a.dilation));
  }
  return hasher.digest();
}

}  // namespace canvas
