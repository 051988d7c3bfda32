#include "canvas/ir/builder.h"

#include <algorithm>

namespace canvas {

namespace {

// A result of this many axes or nodes is past anything useful and would only slow the rest down.
constexpr size_t kMostAxes = 16;
constexpr size_t kMostNodes = 4096;
constexpr size_t kUsualNodes = 14;  // place for which is made at once

std::string unused_name(const std::vector<Node>& nodes) {
  for (size_t number = nodes.size();; ++number) {
    const std::string name = "v" + std::to_string(number);
    if (std::none_of(nodes.begin(), nodes.end(), [&](const Node& node) { return node.name == name; })) return name;
  }
}

std::optional<Fault> check_result(const Axes& axes, const char* primitive, const Variables& variables) {
  for (size_t i = 0; i < axes.size(); ++i) {
    const Axis& axis = axes[i];
    require(!axis.name.empty(), "an axis without a name");
    if (!axis.size.valid()) {
      return Fault{primitive, "sizes must fit 64-bit integers", "a product that is too large for axis " + axis.name,
                   ""};
    }
    if (axis.size.denominator() != 1 && axis.size.is_constant()) {
      return Fault{primitive, "a size without variables must be a whole number",
                   axis.name + " = " + to_string(axis.size, variables), ""};
    }
    if (find_axis(axes, axis.name) != static_cast<int>(i)) {
      return Fault{primitive, "the axes of a value must have different names", to_string(axes, variables),
                   "give the new axis another name"};
    }
  }
  if (axes.size() > kMostAxes) {
    return Fault{primitive, "a value has at most " + std::to_string(kMostAxes) + " axes", std::to_string(axes.size()),
                 ""};
  }
  return std::nullopt;
}

// A text has no place for what a primitive's grammar does not take, and a kernel must be what its text says.
std::optional<Fault> check_attributes(const Primitive& primitive, const Attributes& attributes) {
  const auto takes = [&](unsigned part) { return (primitive.grammar & part) != 0; };
  const auto fault = [&] { return Fault{primitive.name, "attributes that the primitive takes", "others", ""}; };
  if ((!takes(kFrom | kArrow) && !attributes.from.empty()) || (!takes(kArrow | kNew) && !attributes.to.empty()) ||
      (!takes(kPer) && !attributes.per.empty()) || (!takes(kItems) && !attributes.items.empty()) ||
      (!takes(kDilation) && attributes.dilation != 1)) {
    return fault();
  }
  const int modes = takes(kModes) ? static_cast<int>(primitive.modes.size()) : 1;
  if (attributes.mode < 0 || attributes.mode >= modes) return fault();
  const bool offsets = takes(kIndices) || (takes(kOffsets) && attributes.per.empty());
  for (const AxisItem& item : attributes.items) {
    if (item.made.empty() == takes(kMade) || (offsets ? item.amount != Size() : item.offset != 0)) return fault();
  }
  return std::nullopt;
}

// Drops dynamic variables that no size mentions any more, and renumbers the rest.
void compact(std::vector<Node>& nodes, Variables& variables) {
  Variables kept;
  std::vector<std::pair<int, int>> moves;
  const auto each_size = [&](auto&& visit) {
    for (Node& node : nodes) {
      for (Axis& axis : node.axes) visit(axis.size);
      for (Axis& axis : node.attributes.to) visit(axis.size);
      for (AxisItem& item : node.attributes.items) visit(item.amount);
    }
  };
  for (int v = kFirstDynamic; v < variables.count(); ++v) {
    bool used = false;
    each_size([&](Size& size) { used = used || size.exponent(v) != 0; });
    if (used) moves.emplace_back(v, kept.add(variables.name(v)));
  }
  for (auto [before, after] : moves) {  // after <= before, so a move never meets a variable that is still to move
    if (before == after) continue;
    each_size([&, from = before, to = after](Size& size) { size = size.substitute(from, Size::variable(to)); });
  }
  variables = kept;
}

// A text does not name the returned value, so its name follows from the others': "result" unless one of them has that name.
void name_result(std::vector<Node>& nodes) {
  Node last = std::move(nodes.back());
  nodes.pop_back();
  const bool taken = std::any_of(nodes.begin(), nodes.end(), [](const Node& node) { return node.name == "result"; });
  last.name = taken ? unused_name(nodes) : "result";
  nodes.push_back(std::move(last));
}

}  // namespace

std::optional<Fault> check_signature(const Signature& signature, const Variables& variables) {
  for (const Axes* axes : {&signature.from, &signature.to}) {
    if (auto fault = check_result(*axes, "signature", variables)) return fault;
    const auto channels =
        std::count_if(axes->begin(), axes->end(), [](const Axis& axis) { return axis.role == Role::kChannel; });
    if (channels != 1) {
      return Fault{"signature", "exactly one channel axis (size C in, K out) on each side", to_string(*axes, variables),
                   "write x[C, H, W] -> [K, H/s, W/s]"};
    }
    for (const Axis& axis : *axes) {
      if (axis.size.has_dynamic() || axis.size.is_constant()) {
        return Fault{"signature", "sizes made of the layer's own C, K, D, H, W, T, s",
                     axis.name + " = " + to_string(axis.size, variables), ""};
      }
    }
  }
  return std::nullopt;
}

Builder::Builder(Signature signature, Variables variables)
    : signature_(std::move(signature)), variables_(std::move(variables)) {
  nodes_.reserve(kUsualNodes);
  nodes_.push_back({nullptr, {}, {}, signature_.from, signature_.input});
}

Builder::Builder(const Kernel& kernel, int length)
    : signature_(kernel.signature()),
      variables_(kernel.variables()),
      nodes_(kernel.nodes().begin(), kernel.nodes().begin() + length + 1),
      marks_(static_cast<size_t>(length)) {}

Result<int> Builder::add(const Primitive& primitive, Inputs inputs, Attributes attributes, const std::string& name) {
  const int count = static_cast<int>(inputs.size());
  require(count >= primitive.arity && count <= primitive.widest(),
          "a primitive was given the wrong number of operands");
  if (nodes_.size() > kMostNodes) {
    return Fault{primitive.name, "a kernel has at most " + std::to_string(kMostNodes) + " primitives", "more", ""};
  }
  OperandAxes operands;
  operands.reserve(inputs.size());
  for (int input : inputs) {
    require(input >= 0 && input < static_cast<int>(nodes_.size()),
            "a primitive was given an operand that is not there");
    operands.push_back(&axes(input));
  }
  if (auto fault = check_attributes(primitive, attributes)) return *fault;
  const size_t before = equations_.mark();
  Inference inference{std::move(operands), attributes, variables_, equations_};
  Result<Axes> shape = primitive.infer(inference);
  if (shape) {
    if (auto fault = check_result(*shape, primitive.name, variables_)) shape = *fault;
  }
  if (!shape) {
    equations_.undo(before);
    return shape.fault();
  }
  marks_.push_back(before);
  nodes_.push_back({&primitive, std::move(inputs), std::move(attributes), std::move(*shape),
                    name.empty() ? unused_name(nodes_) : name});
  return static_cast<int>(nodes_.size()) - 1;
}

void Builder::pop() {
  require(!marks_.empty(), "nothing to take back");
  nodes_.pop_back();
  equations_.undo(marks_.back());
  marks_.pop_back();
}

std::vector<int> Builder::loose() const {
  Few<char, 64> used(nodes_.size(), 0);
  for (const Node& node : nodes_) {
    for (int input : node.inputs) used[static_cast<size_t>(input)] = 1;
  }
  std::vector<int> values;
  for (size_t i = 0; i < nodes_.size(); ++i) {
    if (!used[i]) values.push_back(static_cast<int>(i));
  }
  return values;
}

Result<Kernel> Builder::finish(const std::string& name) const& { return Builder(*this).finish(name); }

Result<Kernel> Builder::finish(const std::string& name) && {
  const auto unused = loose();
  if (unused.size() > 1) {
    return Fault{"verify", "every value must be used", nodes_[static_cast<size_t>(unused[0])].name + " unused",
                 "use it or delete its line"};
  }
  Equations equations = std::move(equations_);
  const Axes& result = nodes_.back().axes;
  const auto mismatch = [&] {
    return Fault{"verify", "the result must have the axes " + to_string(signature_.to, variables_),
                 to_string(result, variables_), "merge or contract what is too much"};
  };
  if (result.size() != signature_.to.size()) return mismatch();
  for (const Axis& wanted : signature_.to) {
    const int found = find_axis(result, wanted.name);
    if (found < 0) return mismatch();
    const Size& size = result[static_cast<size_t>(found)].size;
    if (size == wanted.size && equations.empty()) continue;
    if (auto fault = equations.equate(size, wanted.size, "verify", variables_)) return *fault;
  }
  if (nodes_.size() == 1) {
    return Fault{"verify", "a kernel has at least one primitive", "its input alone", "apply a primitive to it"};
  }
  Kernel kernel;
  kernel.name_ = name;
  kernel.signature_ = std::move(signature_);
  kernel.variables_ = variables_;
  kernel.nodes_ = std::move(nodes_);
  if (!equations.empty()) {
    for (int v = kFirstDynamic; v < variables_.count(); ++v) {
      const Size value = equations.resolve(Size::variable(v));
      if (value != Size::variable(v)) kernel.forced_.emplace_back(variables_.name(v), to_string(value, variables_));
    }
    for (Node& node : kernel.nodes_) {
      for (Axis& axis : node.axes) axis.size = equations.resolve(axis.size);
      for (Axis& axis : node.attributes.to) axis.size = equations.resolve(axis.size);
      for (AxisItem& item : node.attributes.items) item.amount = equations.resolve(item.amount);
    }
  }
  compact(kernel.nodes_, kernel.variables_);
  name_result(kernel.nodes_);
  return kernel;
}

}  // namespace canvas
