#include "canvas/native/pairs.h"

#include <algorithm>

#include "canvas/native/access.h"
#include "canvas/prims/common.h"

namespace canvas::native {

namespace {

constexpr int64_t kChannels = 8;  // that fill vectors by themselves

std::vector<Name> order_of_products(const CoreOp& of, const Axes& one, const Axes& other, const Values& values) {
  std::vector<Name> both, first, second, heads;
  int64_t channels = 1, summed = 1;
  for (const Axis& axis : of.axes) {
    const bool in_one = has_axis(one, axis.name), in_other = has_axis(other, axis.name);
    if (axis.role == Role::kChannel && !(in_one && in_other)) return {};
    const bool head = axis.role == Role::kChannel;
    (head ? heads : in_one && in_other ? both : in_one ? first : second).push_back(axis.name);
    if (head) channels *= extent_of(axis, values);
  }
  for (const Axis& axis : one) summed *= has_axis(of.axes, axis.name) ? 1 : extent_of(axis, values);
  if (first.empty() || second.empty()) return {};
  const bool last = summed == 1 && channels >= kChannels;  // heads of one channel are neighbours as they are
  if (!last) both.insert(both.end(), heads.begin(), heads.end());
  both.insert(both.end(), first.begin(), first.end());
  both.insert(both.end(), second.begin(), second.end());
  if (last) both.insert(both.end(), heads.begin(), heads.end());
  return both;
}

}  // namespace

std::vector<std::vector<Name>> orders_of_pairs(const std::vector<CoreOp>& ops, const std::vector<bool>& constant,
                                               const Values& values) {
  std::vector<std::vector<Name>> orders(ops.size());
  const auto at = [](int id) { return static_cast<size_t>(id); };
  for (size_t id = 0; id < ops.size(); ++id) {
    const CoreOp& of = ops[id];
    if (of.kind == CoreKind::kContract && of.inputs.size() == 2 && !constant[at(of.inputs[0])] &&
        !constant[at(of.inputs[1])]) {
      orders[id] = order_of_products(of, ops[at(of.inputs[0])].axes, ops[at(of.inputs[1])].axes, values);
    }
    if (of.kind != CoreKind::kMap && of.kind != CoreKind::kReduce) continue;
    for (int in : of.inputs) {
      std::vector<Name> kept = orders[at(in)];
      std::erase_if(kept, [&](const Name& name) { return !has_axis(of.axes, name); });
      if (!kept.empty() && kept.size() == of.axes.size()) orders[id] = std::move(kept);
    }
  }
  return orders;
}

}  // namespace canvas::native
