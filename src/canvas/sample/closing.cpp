#include "canvas/sample/closing.h"

#include <algorithm>
#include <bit>
#include <set>

#include "canvas/prims/registry.h"

namespace canvas {

namespace {

constexpr int kNever = 1 << 20;    // steps
constexpr int kMostAxesOfOne = 7;  // as the sampler's joins have

// Looks for a way of so many steps, from values as sets of axes: only which axes a value has decides what can become of it. A step that
// leaves something else than the result's axes, another value's, or less, is never on a shortest way, so few kinds are tried.
class Search {
 public:
  Search(Outline outline, const std::map<std::string, double>& weights)
      : outline_(std::move(outline)), axes_(outline_.axes()), result_(outline_.result()), channel_(outline_.channel()) {
    fold_ = weight_of(fold_primitive(), weights) > 0;
    contract_ = weight_of(contract_primitive(), weights) > 0;
    stack_ = weight_of(stack_primitive(), weights) > 0;
    for (int value = 0; value < static_cast<int>(outline_.values().size()); ++value)
      (outline_.is_loose(value) ? open_ : others_).push_back({outline_.value(value).axes, value});
    for (size_t i = 0; i < axes_.size(); ++i) find_conversions(i);
    conflicts_.assign(axes_.size(), 0);
    for (size_t i = 0; i < axes_.size(); ++i) {
      const Axis& axis = axes_[i];
      if (axis.role == Role::kSpatial) spatial_ |= Mask{1} << i;
      if (axis.role == Role::kWindow) windows_ |= Mask{1} << i;
      if (axis.role != Role::kSpatial && axis.size.is_constant()) constants_ |= Mask{1} << i;
      for (size_t k = 0; k < axes_.size(); ++k) conflicts_[i] |= Mask{k != i && axes_[k].name == axis.name} << k;
    }
  }

  std::optional<ClosingStep> run(int steps) {
    if (outline_.lost() || axes_.size() >= Outline::kMostAxes) return std::nullopt;
    for (int left = 1; left <= steps; ++left) {
      deepest_ = left;
      if (close(open_, left)) return first_;
    }
    return std::nullopt;
  }

 private:
  using Mask = Outline::Set;
  struct Value {
    Mask mask;
    int value;  // in the builder; -1: made on the way
  };
  using Opened = Few<Value, 8>;
  using Places = Few<size_t, 4>;

  static constexpr Mask kStacked = Mask{1} << 63;  // the axis that a stack makes

  void find_conversions(size_t i) {
    strided_.resize(axes_.size());
    longer_.resize(axes_.size());
    const Mask own = Mask{1} << i;
    if (axes_[i].role != Role::kSpatial || !((outline_.strided() | outline_.longer()) & own)) return;
    const Axes& to = outline_.signature().to;
    Axis axis = axes_[i];
    const Size size = axis.size, wanted = to[static_cast<size_t>(find_axis(to, axis.name))].size;
    const bool repeats = outline_.longer() & own;
    if (outline_.strided() & own) {
      axis.size = size / Size::variable(kStride);
      strided_[i] = outline_.bit(axis);
    }
    if (repeats) {
      axis.size = size * Size::constant((size / wanted).denominator());
      longer_[i] = outline_.bit(axis);
    }
  }

  template <class Visit>
  static void each_bit(Mask mask, Visit visit) {
    for (; mask; mask &= mask - 1) visit(static_cast<size_t>(std::countr_zero(mask)));
  }

  AxisNames names(Mask mask) const {
    AxisNames found;
    each_bit(mask, [&](size_t i) { found.push_back(axes_[i].name); });
    return found;
  }

  static Mask axes_of(const Opened& open) {
    Mask all = 0;
    for (const Value& value : open) all |= value.mask;
    return all;
  }

  bool is_done(const Opened& open) const { return open.size() == 1 && open[0].mask == result_; }

  Mask to_mix(Mask mask) const { return mask & ~spatial_ & ~channel_; }

  // No way is shorter: each join takes one value away, or a stack several and then needs a mix; no join changes a spatial axis.
  int least(const Opened& open) const {
    if (is_done(open)) return 0;
    const int pairs = static_cast<int>(open.size()) - 1;
    const int joins = stack_ ? std::min(pairs, 2) : pairs;
    const Mask all = axes_of(open);
    const bool wrong_place = (all & spatial_ & ~result_) != 0;
    const bool wrong_rest = open.size() == 1 && (to_mix(all) || (result_ & ~all & ~conversions(all)));
    return std::max(1, joins + wrong_place + wrong_rest);
  }

  // The result's sizes of axes that the values have in another size.
  Mask conversions(Mask mask) const {
    Mask found = 0;
    each_bit(mask & spatial_, [&](size_t i) { found |= conflicts_[i] & result_; });
    return found;
  }

  bool covered(const Opened& open) const {
    const Mask all = axes_of(open);
    return (all & ~spatial_) && !(result_ & spatial_ & ~all & ~conversions(all));
  }

  // Puts what a step makes in place of the values that it uses up, and goes on from there.
  bool step(const Opened& open, Places used, Mask made, int left, ClosingStep::Kind kind, Inputs others,
            Mask axes = 0) {
    Opened next;
    for (size_t i = 0; i < open.size(); ++i) {
      if (std::find(used.begin(), used.end(), i) == used.end()) next.push_back(open[i]);
    }
    next.push_back({made, -1});
    std::sort(next.begin(), next.end(), [](const Value& a, const Value& b) { return a.mask < b.mask; });
    if (!close(next, left - 1)) return false;
    if (left == deepest_) {
      first_ = {kind, {}, names(axes)};
      for (size_t i : used) first_.values.push_back(open[i].value);
      first_.values.insert(first_.values.end(), others.begin(), others.end());
    }
    return true;
  }

  bool close(const Opened& open, int left) {
    if (is_done(open)) return true;
    if (least(open) > left) return false;
    std::vector<Mask> key = {static_cast<Mask>(left)};
    for (const Value& value : open) key.push_back(value.mask);
    if (left < deepest_ && !tried_.insert(std::move(key)).second) return false;
    for (size_t i = 0; i < open.size(); ++i) {
      if (i > 0 && open[i].mask == open[i - 1].mask) continue;
      if (convert(open, {i}, open[i].mask, left, {})) return true;
    }
    for (size_t i = 0; i < open.size(); ++i) {
      for (size_t k = i + 1; k < open.size(); ++k) {
        if (join(open, {i, k}, open[i].mask, open[k].mask, left, {})) return true;
      }
    }
    if (stack(open, left)) return true;
    for (const Value& other : others_) {
      for (size_t i = 0; i < open.size(); ++i) {
        if (join(open, {i}, open[i].mask, other.mask, left, {other.value})) return true;
      }
      if (!covered(open) && convert(open, {}, other.mask, left, {other.value})) return true;
    }
    return false;
  }

  // One operand: mixed into the result's channel, strided, repeated, or folded over places.
  bool convert(const Opened& open, const Places& used, Mask mask, int left, const Inputs& others) {
    const auto go = [&](Mask made, ClosingStep::Kind kind, Mask axes = 0) {
      return step(open, used, made, left, kind, others, axes);
    };
    const auto moved = [&](const std::vector<Mask>& to) {
      Mask made = mask;
      each_bit(mask, [&](size_t i) {
        if (i < to.size() && to[i]) made = (made & ~(Mask{1} << i)) | to[i];
      });
      return made;
    };
    const Mask places = mask & spatial_;
    const bool clash = conflicts_[static_cast<size_t>(std::countr_zero(channel_))] & places;
    if (to_mix(mask) && !clash && go(places | channel_, ClosingStep::kMix)) return true;
    if (moved(strided_) != mask && go(moved(strided_), ClosingStep::kSubsample)) return true;
    if (moved(longer_) != mask && go(moved(longer_), ClosingStep::kUpsample)) return true;
    if (!fold_ || (mask & windows_) || !places) return false;
    if (go(mask & ~places, ClosingStep::kFold, places)) return true;
    bool found = false;
    if (std::popcount(places) > 1)
      each_bit(places,
               [&](size_t i) { found = found || go(mask & ~(Mask{1} << i), ClosingStep::kFold, Mask{1} << i); });
    return found;
  }

  // Two operands: element by element, or summed over all constant axes that both have, or over one other.
  bool join(const Opened& open, const Places& used, Mask a, Mask b, int left, const Inputs& others) {
    const Mask both = a | b;
    const bool nested = both == a || both == b;
    if ((nested || !(both & ~result_)) && step(open, used, both, left, ClosingStep::kJoin, others)) return true;
    const Mask common = a & b & ~spatial_ & ~kStacked;
    bool clash = !contract_ || !common;
    each_bit(a & ~kStacked, [&](size_t i) { clash = clash || (conflicts_[i] & b); });
    if (clash) return false;
    bool found = false;
    const auto contracted = [&](Mask axes) {
      found = found || (std::popcount(both & ~axes) <= kMostAxesOfOne &&
                        step(open, used, both & ~axes, left, ClosingStep::kContract, others, axes));
    };
    if (common & constants_) contracted(common & constants_);
    each_bit(common & ~constants_, [&](size_t i) { contracted(Mask{1} << i); });
    return found;
  }

  // Values of the same axes at once; two as well, since the axis that a stack makes can be mixed where a sum has none.
  bool stack(const Opened& open, int left) {
    for (size_t i = 0; stack_ && i < open.size(); ++i) {
      Places used;
      for (size_t k = i; k < open.size() && used.size() < 8; ++k) {
        if (open[k].mask == open[i].mask) used.push_back(k);
      }
      if (used.size() > 1 && !(open[i].mask & kStacked) &&
          step(open, used, open[i].mask | kStacked, left, ClosingStep::kStack, {}))
        return true;
    }
    return false;
  }

  Outline outline_;
  const std::vector<Axis>& axes_;  // of all values, each once; then what their spatial axes can become
  bool fold_, contract_, stack_;
  std::vector<Mask> strided_, longer_, conflicts_;
  Mask result_, channel_, spatial_ = 0, windows_ = 0, constants_ = 0;
  Opened open_, others_;
  int deepest_ = 0;
  ClosingStep first_{ClosingStep::kMix, {}};
  std::set<std::vector<Mask>> tried_;
};

}  // namespace

double weight_of(const Primitive& primitive, const std::map<std::string, double>& weights) {
  const auto asked = weights.find(primitive.name);
  return asked == weights.end() ? primitive.weight : asked->second;
}

bool subset(const Axes& small, const Axes& large) {
  return std::all_of(small.begin(), small.end(), [&](const Axis& axis) {
    const int found = find_axis(large, axis.name);
    return found >= 0 && large[static_cast<size_t>(found)].size == axis.size;
  });
}

bool joinable(const Axes& a, const Axes& b) { return subset(a, b) || subset(b, a); }

bool compatible(const Axes& a, const Axes& b) {
  return std::all_of(a.begin(), a.end(), [&](const Axis& axis) {
    const int found = find_axis(b, axis.name);
    return found < 0 || b[static_cast<size_t>(found)].size == axis.size;
  });
}

Open open(const Axes& axes, const Signature& signature) {
  Open state;
  int others = 0;
  for (const Axis& axis : axes) {
    const int wanted = find_axis(signature.to, axis.name);
    const bool same = wanted >= 0 && signature.to[static_cast<size_t>(wanted)].size == axis.size;
    if (axis.role == Role::kSpatial) {
      if (wanted < 0) state.foreign.push_back(axis.name);
      if (wanted < 0 || same) continue;
      const Size factor = axis.size / signature.to[static_cast<size_t>(wanted)].size;
      state.subsample = state.subsample || factor.exponent(kStride) > 0;
      state.upsample = state.upsample || factor.denominator() > 1;
    } else {
      state.channels = true;
      state.is_result = state.is_result || same;
      ++others;
    }
  }
  state.is_result = state.is_result && others == 1;
  return state;
}

Closing::Closing(const Outline& outline, const std::map<std::string, double>& weights)
    : outline_(outline), weights_(weights), bound_(outline.lost() ? kNever : outline.bound()) {}

std::optional<ClosingStep> Closing::first_step(int steps) const {
  if (steps < 1) return std::nullopt;
  return Search(outline_, weights_).run(std::min({steps, kDeepest, bound_ - 1}));
}

int Closing::least() const {
  for (int steps = 1; steps < bound_ && steps <= kDeepest; ++steps) {
    if (first_step(steps)) return steps;
  }
  return bound_;
}

}  // namespace canvas
