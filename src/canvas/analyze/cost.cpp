#include "canvas/analyze/cost.h"

#include <algorithm>
#include <cmath>

#include "canvas/ir/primitive.h"

namespace canvas {

namespace {

constexpr double kBytes = 4;  // fp32

// The value whose storage each value uses: itself, or that of a view's operand. A view that copies is read in place where weighted
// contractions alone read it, be it through other views.
std::vector<size_t> storage(const Kernel& kernel) {
  const auto& nodes = kernel.nodes();
  std::vector<bool> only_contracted(nodes.size(), true);
  only_contracted.back() = false;
  for (size_t i = nodes.size(); i-- > 1;) {
    const Primitive& reader = *nodes[i].primitive;
    if ((reader.weighted() && reader.is(kLinear)) || (reader.is(kView) && only_contracted[i])) continue;
    for (int input : nodes[i].inputs) only_contracted[static_cast<size_t>(input)] = false;
  }
  std::vector<size_t> owner(nodes.size());
  for (size_t i = 0; i < nodes.size(); ++i) {
    const auto& view = nodes[i].primitive;
    const bool shares = view && view->is(kView) && (view->is(kBijective) || only_contracted[i]);
    owner[i] = shares ? owner[static_cast<size_t>(nodes[i].inputs[0])] : i;
  }
  return owner;
}

}  // namespace

CostModel::CostModel(const Kernel& kernel) {
  const auto& nodes = kernel.nodes();
  const Size times = kernel.signature().per_position() ? Size::variable(kT) : Size();
  const std::vector<size_t> owner = storage(kernel);
  std::vector<size_t> last_use(nodes.size(), 0);
  for (size_t i = 1; i < nodes.size(); ++i) {
    const Node& node = nodes[i];
    const auto operands = kernel.operands(node);
    if (node.primitive->flops) flops_.push_back(index(times * node.primitive->flops(operands, node)));
    if (node.primitive->weighted())
      params_.push_back(index(elements(node.primitive->parameter(*operands[0], node.attributes))));
    for (int input : node.inputs) last_use[owner[static_cast<size_t>(input)]] = i;
  }
  last_use[owner.back()] = nodes.size();
  std::vector<size_t> volumes;
  for (const Node& node : nodes) volumes.push_back(index(times * elements(node.axes)));
  for (size_t step = 1; step < nodes.size(); ++step) {
    Sum alive;
    for (size_t value = 0; value <= step; ++value) {
      if (owner[value] == value && last_use[value] >= step) alive.push_back(volumes[value]);
    }
    std::sort(alive.begin(), alive.end());
    alive_.push_back(std::move(alive));
  }
  // What is alive at another step besides can never be the most.
  for (size_t i = alive_.size(); i-- > 0;) {
    const auto covers = [&](const Sum& other) {
      return &other != &alive_[i] && std::includes(other.begin(), other.end(), alive_[i].begin(), alive_[i].end());
    };
    if (std::any_of(alive_.begin(), alive_.end(), covers))
      alive_.erase(alive_.begin() + static_cast<std::ptrdiff_t>(i));
  }
}

size_t CostModel::index(const Count& monomial) {
  const auto at = static_cast<size_t>(std::find(monomials_.begin(), monomials_.end(), monomial) - monomials_.begin());
  if (at == monomials_.size()) monomials_.push_back(monomial);
  return at;
}

Cost CostModel::evaluate(const Values& values) const {
  std::vector<double> amounts;
  for (const Count& monomial : monomials_) {
    const auto whole = monomial.evaluate(values);
    amounts.push_back(whole ? static_cast<double>(*whole) : HUGE_VAL);
  }
  const auto total = [&](const Sum& sum) {
    double all = 0;
    for (size_t term : sum) all += amounts[term];
    return all;
  };
  Cost cost{total(flops_), total(params_), 0};
  for (const Sum& alive : alive_) cost.memory = std::max(cost.memory, kBytes * total(alive));
  return cost;
}

}  // namespace canvas
