#include "canvas/native/network.h"

#include <algorithm>

#include "canvas/base/error.h"
#include "canvas/emit/python.h"
#include "canvas/lower/lower.h"
#include "canvas/lower/simplify.h"
#include "canvas/prims/common.h"

namespace canvas {

namespace {

AxisNames names_of(const std::vector<std::string>& texts) { return AxisNames(texts.begin(), texts.end()); }

int64_t extent(const Axis& axis) { return axis.size.numerator(); }

Axis renamed(const Axis& axis, const std::map<std::string, std::string>& names, const Values& values) {
  const auto size = axis.size.evaluate(values);
  if (!size) throw ArgumentError("a kernel's axis " + axis.name + " has no size");
  return {names.at(axis.name), Size::constant(*size), axis.role};
}

}  // namespace

Network::Network(Axes input) : input_(std::move(input)) {
  CoreOp op = core_step(CoreKind::kInput, {}, input_);
  program_.add(std::move(op));
}

const CoreOp& Network::op(int value) const {
  if (value < 0 || value >= static_cast<int>(program_.ops.size()))
    throw ArgumentError("the network has no value " + std::to_string(value));
  return program_.ops[static_cast<size_t>(value)];
}

int Network::add(CoreOp made) {
  for (size_t i = 0; i < made.axes.size(); ++i) {
    const Axis& axis = made.axes[i];
    if (!axis.size.valid() || !axis.size.is_constant() || axis.size.denominator() != 1 || extent(axis) < 1)
      throw ArgumentError("axis " + axis.name + " has no whole size above 0");
    if (find_axis(made.axes, axis.name) != static_cast<int>(i))
      throw ArgumentError("axis " + axis.name + " is there twice");
  }
  return program_.add(std::move(made));
}

int Network::parameter(const std::string& name, Axes axes) {
  CoreOp made = core_step(CoreKind::kParameter, {}, std::move(axes));
  made.name = name;
  return add(std::move(made));
}

int Network::map(const std::string& function, std::vector<int> operands) {
  Axes axes;
  for (int operand : operands) {
    for (const Axis& axis : this->axes(operand)) {
      const int at = find_axis(axes, axis.name);
      if (at < 0) axes.push_back(axis);
      if (at >= 0 && !(axes[static_cast<size_t>(at)].size == axis.size))
        throw ArgumentError(function + ": axis " + axis.name + " has two sizes");
    }
  }
  CoreOp made = core_step(CoreKind::kMap, std::move(operands), std::move(axes));
  made.function = function;
  return add(std::move(made));
}

int Network::contract(std::vector<int> operands, const std::vector<std::string>& kept) {
  Axes all;
  for (int operand : operands) {
    for (const Axis& axis : axes(operand))
      if (!has_axis(all, axis.name)) all.push_back(axis);
  }
  return add(core_step(CoreKind::kContract, std::move(operands), select(all, names_of(kept))));
}

int Network::reduce(const std::string& function, int operand, const std::vector<std::string>& over) {
  CoreOp made = core_step(CoreKind::kReduce, {operand}, without(axes(operand), names_of(over)));
  made.function = function;
  made.from = names_of(over);
  return add(std::move(made));
}

int Network::softmax(int operand, const std::string& over) {
  CoreOp made = core_step(CoreKind::kSoftmax, {operand}, axes(operand));
  made.from = {over};
  return add(std::move(made));
}

int Network::windows(int operand, const std::vector<Window>& items, bool lowest) {
  CoreOp made = core_step(CoreKind::kIndex, {operand}, axes(operand));
  if (lowest) made.function = native::kLowest;
  for (const Window& item : items) {
    const int at = find_axis(made.axes, item.axis);
    if (at < 0) throw ArgumentError("there is no axis " + item.axis);
    made.axes[static_cast<size_t>(at)].size = Size::constant(item.extent);
    if (!item.made.empty()) made.axes.push_back({item.made, Size::constant(item.window), Role::kWindow});
    const int64_t middle = item.dilation * (item.window / 2);  // core forms count offsets from there
    made.items.push_back({item.axis, item.made, item.window, item.dilation, item.offset + static_cast<int>(middle),
                          Size::constant(item.stride)});
  }
  return add(std::move(made));
}

int Network::pick(int operand, const std::string& axis, int position) {
  CoreOp made = core_step(CoreKind::kPick, {operand}, without(axes(operand), {axis}));
  made.items.push_back({axis, "", 1, 1, position, Size::constant(1)});
  return add(std::move(made));
}

int Network::view(int operand, const std::vector<std::string>& from, const Axes& to) {
  int64_t elements = 1;
  for (const std::string& name : from) {
    const int at = find_axis(axes(operand), name);
    if (at < 0) throw ArgumentError("there is no axis " + name);
    elements *= extent(axes(operand)[static_cast<size_t>(at)]);
  }
  for (const Axis& axis : to) elements = elements % extent(axis) == 0 ? elements / extent(axis) : 0;
  if (elements != 1 || (from.size() != 1 && to.size() != 1)) throw ArgumentError("a view of other elements");
  Axes kept = without(axes(operand), names_of(from));
  kept.insert(kept.end(), to.begin(), to.end());
  CoreOp made = core_step(CoreKind::kView, {operand}, std::move(kept));
  made.from = names_of(from);
  made.to = to;
  return add(std::move(made));
}

int Network::stack(std::vector<int> operands, const Axis& along) {
  if (operands.empty() || extent(along) != static_cast<int64_t>(operands.size()))
    throw ArgumentError("an axis of another size than what is put together");
  Axes all = axes(operands[0]);
  all.push_back(along);
  CoreOp made = core_step(CoreKind::kPut, std::move(operands), std::move(all));
  made.items.push_back({"", along.name, 1, 1, 0, Size::constant(1)});
  return add(std::move(made));
}

int Network::kernel(const Kernel& kernel, const Values& values, int operand, const std::vector<std::string>& from,
                    const std::vector<std::string>& to, const std::string& prefix) {
  const Signature& signature = kernel.signature();
  if (from.size() != signature.from.size() || to.size() != signature.to.size())
    throw ArgumentError(kernel.name() + ": other axes than those of its signature");
  Lowering all;
  const CoreProgram program = simplify(lower(kernel), all, &values);
  std::map<std::string, std::string> names;
  const auto rename = [&](Name& name) {
    if (!name.empty()) name = names.emplace(name, prefix + name).first->second;
  };
  for (size_t i = 0; i < to.size(); ++i) names[signature.to[i].name] = to[i];
  for (size_t i = 0; i < from.size(); ++i) names[signature.from[i].name] = from[i];
  const Axes others = without(axes(operand), names_of(from));
  std::vector<int> place;
  std::vector<bool> depends;
  for (CoreOp made : program.ops) {
    if (made.kind == CoreKind::kInput) {
      for (const Axis& axis : made.axes) {
        const int at = find_axis(axes(operand), names.at(axis.name));
        if (at < 0 || axis.size.evaluate(values) != extent(axes(operand)[static_cast<size_t>(at)]))
          throw ArgumentError(kernel.name() + ": its input has another size along " + axis.name);
      }
      place.push_back(operand);
      depends.push_back(true);
      continue;
    }
    bool own = false;  // it depends on the input
    for (int& in : made.inputs) {
      own = own || depends[static_cast<size_t>(in)];
      in = place[static_cast<size_t>(in)];
    }
    for (Axes* list : {&made.axes, &made.to}) {
      for (Axis& axis : *list) {
        Name ignored = axis.name;
        rename(ignored);
        axis = renamed(axis, names, values);
      }
    }
    for (Name& name : made.from) rename(name);
    for (IndexItem& item : made.items) {
      rename(item.axis);
      rename(item.made);
      item.stride = Size::constant(item.stride.evaluate(values).value_or(1));
    }
    Name over = made.over;
    rename(over);
    made.over = over;
    if (made.kind == CoreKind::kParameter) made.name = prefix + python_name(made.name);
    if (own) made.axes.insert(made.axes.begin(), others.begin(), others.end());
    place.push_back(add(std::move(made)));
    depends.push_back(own);
  }
  return place.back();
}

NativeKernel Network::emit(int result, const std::vector<std::string>& order, const native::Target& target) const {
  CoreProgram program = program_;
  const Axes to = select(op(result).axes, names_of(order));
  if (to.size() != op(result).axes.size()) throw ArgumentError("the result has other axes");
  program.ops.resize(static_cast<size_t>(result) + 1);
  return emit_native(program, input_, to, target);
}

}  // namespace canvas
