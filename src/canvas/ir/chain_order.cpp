#include "canvas/ir/chain_order.h"

#include "canvas/base/random.h"
#include "canvas/ir/labels.h"

namespace canvas {

namespace {

bool moves(const Step& step) { return step.is(kView) && !step.is(kPads); }
bool keeps_zero(const Step& step) { return step.linear() || step.is(kKeepsZero); }
bool drops(const Step& step) { return step.primitive->order == kDropsFirst; }

// Whether it works along a position of the signature.
bool is_spatial(const Program& program, const Step& step) {
  return std::any_of(program.fixed.begin(), program.fixed.end(), [&](const Axis* const& axis) {
    return axis->role == Role::kSpatial && step.touches(static_cast<int>(&axis - program.fixed.data()));
  });
}

// Whether two steps in a row give the same in either order. A stride along one position stays behind work along another: costs are
// monomials, and H*W/s does not say which of the two it divides.
bool commute(const Program& program, const Step& a, const Step& b) {
  if (meet(a, b)) return false;
  if ((drops(a) || drops(b)) && is_spatial(program, a) && is_spatial(program, b)) return false;
  if (moves(a) || moves(b) || (a.linear() && b.linear())) return true;
  return (a.is(kPads) && keeps_zero(b)) || (b.is(kPads) && keeps_zero(a));
}

}  // namespace

ChainOrder::ChainOrder(const Program& program) {
  sizes_.reserve(program.sizes.size());
  chain_.reserve(program.steps.size());
  keys_.reserve(program.steps.size());
  order_.reserve(program.steps.size());
  for (const Size& size : program.sizes) {
    uint64_t code = combine(static_cast<uint64_t>(size.numerator()), static_cast<uint64_t>(size.denominator()));
    int free = 0;
    for (int v = 0; v < kMaxVariables; ++v) {
      if (is_dynamic(v)) free += size.exponent(v);
      if (!is_dynamic(v) && size.exponent(v) != 0) code += mix64(static_cast<uint64_t>(size.exponent(v) * 64 + v));
    }
    sizes_.push_back(combine(code, static_cast<uint64_t>(free)));
  }
}

// The signature's names; else the step that makes an axis, and what of.
void ChainOrder::describe_axes(const Program& program) {
  axes_.assign(static_cast<size_t>(program.axis_count), 0);
  for (size_t i = 0; i < program.fixed.size(); ++i) axes_[i] = hash_text(program.fixed[i]->name.view());
  const auto describe = [&](int axis, uint64_t code) {
    uint64_t& known = axes_[static_cast<size_t>(axis)];
    if (!program.is_fixed(axis)) known = std::max(known, code);  // several steps may make it
  };
  for (size_t i = 1; i < program.order.size(); ++i) {
    const Step& step = program.step(program.order[i]);
    uint64_t from = 0;
    for (int axis : step.from) from += mix64(axes_[static_cast<size_t>(axis)]);
    for (int k = 0; k < step.to.size(); ++k) {
      const uint64_t place = step.ordered() ? static_cast<uint64_t>(k) : 0;
      describe(step.to[k].axis, combine(from + place, sizes_[static_cast<size_t>(step.to[k].size)]));
    }
    for (const Step::Item& item : step.items) {
      if (item.made >= 0) describe(item.made, combine(axes_[static_cast<size_t>(item.axis)], 5));
    }
  }
}

ChainOrder::Key ChainOrder::key(const Step& step) const {
  uint64_t axes = 0, sizes = 0;
  const auto axis = [&](int id) { return axes_[static_cast<size_t>(id)]; };
  for (int id : step.from) axes += mix64(axis(id) + 1);
  for (int id : step.per) axes += mix64(axis(id) + 2);
  for (const Step::Item& item : step.items) {
    axes += mix64(axis(item.axis) + 3);
    sizes += mix64(combine(sizes_[static_cast<size_t>(item.amount)], static_cast<uint64_t>(item.offset)));
  }
  for (const Step::Made& made : step.to) sizes += mix64(sizes_[static_cast<size_t>(made.size)]);
  const bool reduces = step.takes_listed && step.to.empty();  // so all that follows costs less
  return {reduces ? kReduces : step.primitive->order,
          step.primitive->weighted(),
          step.code,
          step.mode,
          step.dilation,
          axes,
          sizes};
}

bool ChainOrder::sort(Program& program) {
  describe_axes(program);
  bool changed = false;
  for (int value : program.order) {
    if (!program.step(value).links() || program.next(value) >= 0) continue;
    chain_.clear();
    for (int step = value; step >= 0; step = program.previous(step)) chain_.push_back(step);
    if (chain_.size() < 2) continue;
    std::reverse(chain_.begin(), chain_.end());
    keys_.clear();
    for (int step : chain_) keys_.push_back(key(program.step(step)));
    changed = (!std::is_sorted(keys_.begin(), keys_.end()) && sort_chain(program)) || changed;
  }
  return changed;
}

bool ChainOrder::sort_chain(Program& program) {
  const size_t count = chain_.size();
  order_.clear();
  taken_.assign(count, false);
  while (order_.size() < count) {
    size_t best = count;
    for (size_t i = 0; i < count; ++i) {
      if (taken_[i] || (best < count && !(keys_[i] < keys_[best]))) continue;
      bool ready = true;
      for (size_t j = 0; j < i && ready; ++j)
        ready = taken_[j] || commute(program, program.step(chain_[j]), program.step(chain_[i]));
      if (ready) best = i;
    }
    taken_[best] = true;
    order_.push_back(best);
  }
  if (std::is_sorted(order_.begin(), order_.end())) return false;
  std::vector<Step> sorted;
  sorted.reserve(count);
  for (size_t i : order_) sorted.push_back(program.step(chain_[i]));
  for (size_t i = 0; i < count; ++i) {
    sorted[i].inputs = program.step(chain_[i]).inputs;  // stay where they are
    program.step(chain_[i]) = sorted[i];
  }
  return true;
}

}  // namespace canvas
