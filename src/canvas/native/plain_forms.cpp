#include "canvas/native/plain_forms.h"

#include <algorithm>
#include <map>

#include "canvas/prims/common.h"

namespace canvas::native {

namespace {

size_t at(int id) { return static_cast<size_t>(id); }

// Whether a contraction can stand before the division by the sums of a softmax: it sums along all axes of the softmax, and no other.
bool can_divide_after(const CoreOp& contract, const CoreOp& softmax) {
  const auto is_summed = [&](const Name& name) { return !has_axis(contract.axes, name); };
  return contract.kind == CoreKind::kContract &&
         std::all_of(softmax.axes.begin(), softmax.axes.end(), [&](const Axis& axis) {
           return is_summed(axis.name) ==
                  (std::find(softmax.from.begin(), softmax.from.end(), axis.name) != softmax.from.end());
         });
}

// Of each value, whether it is a softmax all of whose uses are such contractions.
std::vector<bool> divided_later(const CoreProgram& program) {
  std::vector<bool> later(program.ops.size(), false);
  for (size_t id = 0; id + 1 < program.ops.size(); ++id) later[id] = program.ops[id].kind == CoreKind::kSoftmax;
  for (const CoreOp& op : program.ops)
    for (int in : op.inputs) later[at(in)] = later[at(in)] && can_divide_after(op, program.ops[at(in)]);
  return later;
}

class Writer {
 public:
  int map(std::vector<int> of, const char* function, const Axes& axes) {
    CoreOp step = core_step(CoreKind::kMap, std::move(of), axes);
    step.function = function;
    return made.add(std::move(step));
  }
  int reduce(int of, const char* function, const CoreOp& softmax) {
    CoreOp step = core_step(CoreKind::kReduce, {of}, without(softmax.axes, softmax.from));
    step.from = softmax.from;
    step.function = function;
    return made.add(std::move(step));
  }
  CoreProgram made;
};

}  // namespace

CoreProgram plain_forms(const CoreProgram& program) {
  Writer writer;
  const std::vector<bool> later = divided_later(program);
  std::vector<int> place;
  std::map<int, int> sums;  // by powers that were not divided
  for (CoreOp op : program.ops) {
    for (int& in : op.inputs) in = place[at(in)];
    if (op.kind == CoreKind::kSoftmax) {
      const int in = op.inputs[0];
      const int powers = writer.map({in, writer.reduce(in, "max", op)}, "exp of difference", op.axes);
      const int sum = writer.reduce(powers, "sum", op);
      const bool divided = !later[place.size()];
      if (!divided) sums[powers] = sum;
      place.push_back(divided ? writer.map({powers, sum}, "quotient", op.axes) : powers);
      continue;
    }
    if (op.kind == CoreKind::kMap && op.function == "norm") {
      op.inputs[1] = writer.map({op.inputs[1]}, "sqrt", Axes(writer.made.ops[at(op.inputs[1])].axes));
      op.function = "quotient";
    }
    std::vector<int> divisors;
    for (int in : op.inputs)
      if (sums.count(in) > 0) divisors.push_back(sums[in]);
    const Axes axes = op.axes;
    int value = writer.made.add(std::move(op));
    for (int sum : divisors) value = writer.map({value, sum}, "quotient", axes);
    place.push_back(value);
  }
  return std::move(writer.made);
}

}  // namespace canvas::native
