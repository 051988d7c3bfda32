// contract: the batched matrix product of two values over named axes that both have. Attention and dynamic filters.
#include "canvas/prims/common.h"
#include "canvas/prims/registry.h"

namespace canvas {

namespace {

Result<Axes> infer(Inference& in) {
  if (in.attributes.from.empty())
    return Fault{"contract C1", "at least one axis to sum over", "none", "write contract(a, b, [h, w])"};
  for (const Name& name : in.attributes.from) {
    for (const Axes* axes : in.operands) {
      if (!has_axis(*axes, name)) return missing_axis("contract C1", name, *axes, in.variables);
    }
  }
  if (auto fault = put_in_order(in.attributes.from, in.operand(0), "contract C1", in.variables)) return *fault;
  Result<Axes> all = broadcast(in, "contract C2");
  if (!all) return all;
  return without(*all, in.attributes.from);
}

Tensor evaluate(const Evaluation& e) {
  return sum_of_products(e.node.axes, *e.operand_axes[0], *e.operands[0], *e.operand_axes[1], *e.operands[1], e.values,
                         e.flops);
}

Count flops(const OperandAxes& operands, const Node& node) {
  return Size::constant(2) * elements(node.axes) * elements(select(*operands[0], node.attributes.from));
}

Moments moments(const std::vector<Moments>& in, const OperandAxes& axes, const Node& node, const Values& values) {
  const double count = count_along(*axes[0], node.attributes.from, values);
  const double mean = in[0].mean * in[1].mean;
  Moments out{count * mean, count * (in[0].square * in[1].square - mean * mean) + count * mean * count * mean};
  bound_product(out, in[0], in[1]);
  out.low *= count;
  out.high *= count;
  return out;
}

void propose(const Proposal& proposal, Random& random, std::vector<Attributes>& found) {
  AxisNames windows, channels;
  for (const Axis& axis : proposal.operand(0)) {
    const int other = find_axis(proposal.operand(1), axis.name);
    if (other < 0 || proposal.operand(1)[static_cast<size_t>(other)].size != axis.size || axis.role == Role::kSpatial)
      continue;
    (axis.size.is_constant() ? windows : channels).push_back(axis.name);
  }
  Attributes attributes;
  if (!windows.empty()) {
    attributes.from = windows;
    found.push_back(attributes);
  }
  if (!channels.empty()) {
    attributes.from = {random.pick(channels)};
    found.push_back(attributes);
  }
}

int lower(const Node& node, const OperandAxes&, const std::vector<int>& inputs, CoreProgram& program) {
  return program.add(core_op(CoreKind::kContract, node, inputs));
}

}  // namespace

const Primitive& contract_primitive() {
  static const Primitive primitive{
      .name = "contract",
      .summary = "the product of two values, summed over axes that both have",
      .formula = "z[..] = sum over i of x[.., i, ..] * y[.., i, ..]",
      .arity = 2,
      .grammar = kFrom,
      .properties = kLinear | kCommutative | kKeepsSign,
      .constraints = {{"contract C1", "at least one axis, each of both operands and named once"},
                      {"contract C2", "axes of the same name have the same size"}},
      .example = "contract(u, softmax(u, [h, w]), [h, w])",
      .weight = 0.4,
      .infer = infer,
      .evaluate = evaluate,
      .flops = flops,
      .moments = moments,
      .propose = propose,
      .lower = lower,
  };
  return primitive;
}

}  // namespace canvas
