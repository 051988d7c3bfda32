#include "canvas/ir/program.h"

#include <string_view>

#include "canvas/base/random.h"

namespace canvas {

uint64_t hash_text(std::string_view text) {
  uint64_t code = 0xcbf29ce484222325ull;
  for (char letter : text) code = (code ^ static_cast<unsigned char>(letter)) * 0x100000001b3ull;
  return mix64(code);
}

namespace {

// Ids of names, as they come.
class Names {
 public:
  int operator()(const Name& name) {
    const auto found = std::find(known_.begin(), known_.end(), name);
    if (found == known_.end()) known_.push_back(name);
    return static_cast<int>(found - known_.begin());
  }
  int count() const { return static_cast<int>(known_.size()); }

 private:
  Few<Name, 32> known_;
};

void require_place(bool there) { require(there, "a list of a kernel is longer than a value has axes"); }

Step read(const Node& node, int origin, Names& names, std::vector<Size>& sizes) {
  Step step;
  const Attributes& a = node.attributes;
  step.primitive = node.primitive;
  step.code = hash_text(node.primitive->name);
  step.origin = origin;
  step.mode = a.mode;
  step.dilation = a.dilation;
  step.takes_listed = !a.from.empty() && (node.primitive->takes(kArrow) || !has_axis(node.axes, a.from[0]));
  step.takes_items = !a.items.empty() && !has_axis(node.axes, a.items[0].axis);
  const auto keep = [&](const Size& size) {
    sizes.push_back(size);
    return static_cast<int>(sizes.size()) - 1;
  };
  for (int input : node.inputs) require_place(step.inputs.push(input));
  for (const Name& name : a.from) require_place(step.from.push(names(name)));
  for (const Name& name : a.per) require_place(step.per.push(names(name)));
  for (const Axis& axis : a.to) require_place(step.to.push({names(axis.name), keep(axis.size)}));
  for (const AxisItem& item : a.items)
    require_place(
        step.items.push({names(item.axis), item.made.empty() ? -1 : names(item.made), keep(item.amount), item.offset}));
  return step;
}

int root_of(std::vector<int>& parents, int place) {
  while (parents[static_cast<size_t>(place)] != place) place = parents[static_cast<size_t>(place)];
  return place;
}

template <class OfOperand, class OfResult>
void change_axes(Step& step, const OfOperand& of_operand, const OfResult& of_result) {
  for (int& axis : step.from) axis = of_operand(axis);
  for (int& axis : step.per) axis = of_operand(axis);
  for (Step::Item& item : step.items) {
    item.axis = of_operand(item.axis);
    if (item.made >= 0) item.made = of_result(item.made);
  }
  for (Step::Made& made : step.to) made.axis = of_result(made.axis);
}

}  // namespace

bool Step::makes(int axis) const {
  return std::any_of(to.begin(), to.end(), [&](const Made& made) { return made.axis == axis; }) ||
         std::any_of(items.begin(), items.end(), [&](const Item& item) { return item.made == axis; });
}

bool Step::touches(int axis) const {
  bool found = false;
  each_touched([&](int other) { found = found || other == axis; });
  return found;
}

bool Step::mixes(int axis) const {
  if (per.has(axis)) return false;
  const bool own_weight = primitive->weighted() && !takes_listed && from.has(axis);
  return !own_weight && touches(axis);
}

bool meet(const Step& left, const Step& right) {
  bool found = false;
  left.each_touched(
      [&](int axis) { found = found || (right.touches(axis) && (left.mixes(axis) || right.mixes(axis))); });
  return found;
}

Program::Program(const Kernel& kernel) {
  Names names;
  const Signature& signature = kernel.signature();
  for (const Axes* axes : {&signature.from, &signature.to}) {
    for (const Axis& axis : *axes) {
      const int known = names.count();
      if (names(axis.name) == known) fixed.push_back(&axis);
    }
  }
  for (const Axis& axis : signature.to) require_place(wanted.push(names(axis.name)));
  steps.reserve(kernel.nodes().size() + 8);  // a few come on the way
  sizes.reserve(3 * kernel.nodes().size());
  order.reserve(steps.capacity());
  steps.emplace_back();
  for (const Axis& axis : signature.from) require_place(steps[0].axes.push(names(axis.name)));
  for (int value = 1; value <= kernel.length(); ++value) steps.push_back(read(kernel.node(value), value, names, sizes));
  axis_count = names.count();
  result = kernel.length();
}

bool Program::infer(Step& made) const {
  AxisIds& axes = made.axes;
  const auto taken = [&](int axis) {
    if (made.takes_listed && made.from.has(axis)) return true;
    return made.takes_items &&
           std::any_of(made.items.begin(), made.items.end(), [&](const Step::Item& item) { return item.axis == axis; });
  };
  axes = step(made.inputs[0]).axes;
  if (made.takes_listed || made.takes_items) axes.erase_if(taken);
  bool fits = true;
  const auto add = [&](int axis) { fits = fits && !axes.has(axis) && axes.push(axis); };
  for (int k = 1; k < made.inputs.size(); ++k) {
    for (int axis : step(made.inputs[k]).axes) {
      if (!axes.has(axis) && !taken(axis)) fits = fits && axes.push(axis);
    }
  }
  for (const Step::Made& one : made.to) add(one.axis);
  for (const Step::Item& item : made.items) {
    if (item.made >= 0) add(item.made);
  }
  return fits;
}

void Program::visit(int value) {
  for (int input : step(value).inputs) {
    user[static_cast<size_t>(input)] = value;
    if (uses[static_cast<size_t>(input)]++ == 0 && input != 0) visit(input);
  }
  order.push_back(value);
}

bool Program::refresh() {
  order.clear();
  uses.assign(steps.size(), 0);
  user.assign(steps.size(), -1);
  order.push_back(0);
  uses[static_cast<size_t>(result)] = 1;
  if (result != 0) visit(result);
  bool fits = true;
  for (size_t i = 1; i < order.size(); ++i) fits = infer(step(order[i])) && fits;
  return fits;
}

void Program::replace(int value, int by) {
  for (Step& one : steps) {
    for (int& input : one.inputs) input = input == value ? by : input;
  }
  if (result == value) result = by;
}

void Program::separate() {
  std::vector<int> parents;
  parents.reserve(4 * steps.size());
  std::vector<AxisIds> own(steps.size());  // of each value's axes, a place in `parents`
  const auto fresh = [&] {
    parents.push_back(static_cast<int>(parents.size()));
    return parents.back();
  };
  const auto of = [&](int value, int axis) {
    const int place = step(value).axes.find(axis);
    return place < 0 ? -1 : own[static_cast<size_t>(value)][place];
  };
  const auto of_operand = [&](const Step& at, int axis) {  // joins what has one name in several
    int found = -1;
    for (int input : at.inputs) {
      const int place = of(input, axis);
      if (found >= 0 && place >= 0) parents[static_cast<size_t>(root_of(parents, place))] = root_of(parents, found);
      if (found < 0) found = place;
    }
    return found;
  };
  for (int value : order) {
    const Step& at = step(value);
    if (at.links() && at.axes == step(at.inputs[0]).axes && at.to.empty()) {
      own[static_cast<size_t>(value)] = own[static_cast<size_t>(at.inputs[0])];
      continue;
    }
    for (int axis : at.axes)
      own[static_cast<size_t>(value)].push(at.primitive && !at.makes(axis) ? of_operand(at, axis) : fresh());
    if (at.inputs.size() > 1) {
      for (int axis : at.from) of_operand(at, axis);
    }
  }
  std::vector<int> ids(parents.size(), -1);
  const auto fix = [&](int value, int axis) {
    const int place = of(value, axis);
    if (place >= 0) ids[static_cast<size_t>(root_of(parents, place))] = axis;
  };
  for (int axis : step(0).axes) fix(0, axis);
  for (int axis : wanted) fix(result, axis);
  axis_count = static_cast<int>(fixed.size());
  const auto id_of = [&](int place) {
    int& id = ids[static_cast<size_t>(root_of(parents, place))];
    if (id < 0) id = axis_count++;
    return id;
  };
  for (size_t i = 1; i < order.size(); ++i) {  // values keep the old ids until all steps have the new ones
    Step& at = step(order[i]);
    change_axes(
        at, [&](int axis) { return id_of(of_operand(at, axis)); }, [&](int axis) { return id_of(of(order[i], axis)); });
  }
  for (int value : order) {
    for (int k = 0; k < step(value).axes.size(); ++k) step(value).axes[k] = id_of(own[static_cast<size_t>(value)][k]);
  }
}

bool Program::may_unite(int left, int right) const {
  if (is_fixed(left) && is_fixed(right)) return false;
  for (int value : order) {
    bool has_left = step(value).axes.has(left), has_right = step(value).axes.has(right);
    if (has_left && has_right) return false;
    if (step(value).inputs.size() < 2) continue;
    has_left = has_right = false;
    for (int input : step(value).inputs) {
      has_left = has_left || step(input).axes.has(left);
      has_right = has_right || step(input).axes.has(right);
    }
    if (has_left && has_right) return false;
  }
  return true;
}

void Program::unite(int left, int right) {
  const int gone = std::max(left, right), kept = std::min(left, right);  // the signature's are the smaller
  const auto change = [&](int axis) { return axis == gone ? kept : axis; };
  for (Step& at : steps) {
    change_axes(at, change, change);
    for (int& axis : at.axes) axis = change(axis);
  }
}

}  // namespace canvas
