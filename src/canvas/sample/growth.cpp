#include "canvas/sample/growth.h"

#include <algorithm>

#include "canvas/prims/registry.h"
#include "canvas/sample/connected.h"
#include "canvas/sample/plausible.h"
#include "canvas/sample/superfluous.h"

namespace canvas {

namespace {

constexpr size_t kUsual = 16;      // nodes, steps, proposals: room for so many is made at once
constexpr int kAttempts = 16;      // draws before a closing step is taken instead
constexpr int kTightAttempts = 4;  // where every step must bring the end nearer, which few do
constexpr int kRewinds = 6;        // times that a dead end is left by taking steps back
constexpr int kTakenBack = 3;      // steps, each time
// Rules that a later step can still put right are broken now and then, so that growth reaches all that is plausible.
constexpr double kBroken = 1.0 / 32;
// How often a neighbourhood over a part of the channels is taken for one to be judged at the end.
constexpr double kBelieved = 0.25;
// How often a way shorter than the bound's is searched for, which is as dear as growing some steps.
constexpr double kSearched = 1.0 / 128;

}  // namespace

Chances::Chances(const Limits& limits) : idiom_share_(limits.idioms), idioms_(idioms(limits)) {
  double sum = 0, around = 0, activations = 0;
  for (const Primitive* primitive : primitives()) {
    const double weight = weight_of(*primitive, limits.weights);
    all_.sums.push_back(sum += weight);
    around_.sums.push_back(around += primitive->is(kPads) ? weight : 0);
    activations_.sums.push_back(activations += primitive->is(kPointwise) && primitive->arity == 1 ? weight : 0);
  }
  for (Sums* sums : {&all_, &around_, &activations_}) sums->find_first();
  for (const Idiom* idiom : idioms_) idiom_weights_.push_back(idiom->weight);
}

const Idiom* Chances::idiom(Random& random) const {
  if (idioms_.empty() || !random.chance(idiom_share_)) return nullptr;
  return idioms_[random.weighted(idiom_weights_)];
}

void Chances::Sums::find_first() {
  for (size_t part = 0; part < kParts; ++part) {
    const double from = sums.back() * static_cast<double>(part) / kParts;
    first[part] = static_cast<uint8_t>(std::upper_bound(sums.begin(), sums.end(), from) - sums.begin());
  }
}

const Primitive& Chances::drawn(const Sums& weights, Random& random) {
  const double place = random.uniform(), sum = place * weights.sums.back();
  size_t found = weights.first[static_cast<size_t>(place * Sums::kParts)];
  while (found < weights.sums.size() && weights.sums[found] <= sum) ++found;
  if (found == weights.sums.size()) {  // rounding: the last one that has a weight
    const auto& sums = weights.sums;
    found = static_cast<size_t>(std::lower_bound(sums.begin(), sums.end(), sums.back()) - sums.begin());
  }
  return *primitives()[found];
}

Growth::Growth(Builder builder, const Growing& under, Random& random)
    : builder_(std::move(builder)),
      outline_(builder_.signature()),
      limits_(under.limits),
      chances_(under.chances),
      random_(random),
      spending_(under.spending),
      proposal_{{}, builder_.signature(), channel_sizes_, group_sizes_, partners_, ""} {
  known_.reserve(kUsual);
  seen_.reserve(kUsual);
  spent_.reserve(kUsual);
  ahead_.reserve(kUsual);
  found_.reserve(kUsual);
  partners_.reserve(kUsual);
  while (builder_.variables().count() < kFirstDynamic + limits_.max_variables) {
    std::string name = "r";
    while (builder_.variables().find(name) >= 0) name += "r";
    builder_.variables().add(name);
  }
  if (spending_) {
    twice_places_ = Size::constant(2);
    for (const Axis& axis : builder_.signature().to) {
      if (axis.role == Role::kSpatial) twice_places_ = twice_places_ * axis.size;
    }
    joint_ = spending_->step(elements(builder_.signature().to), std::nullopt);
  }
  if (chances_.windows()) wanted_ = axes_to_look_along(limits_, builder_.signature());
  for (base_ = 0; base_ < count(); ++base_) outline(static_cast<size_t>(base_));
  learn();
}

bool Growth::can_close() const {
  return Closing(outline_, limits_.weights).within(limits_.max_primitives - count() + 1);
}

void Growth::outline(size_t place) {
  const Node& node = builder_.nodes()[place];
  outline_.add(node);
  const bool enough = !node.attributes.per.empty() && random_.chance(kBelieved);
  seen_.push_back(node.primitive ? looks_around(node, seen_, builder_.signature(), enough) : 0);
}

void Growth::learn() {
  for (size_t place = known_.size(); place < builder_.nodes().size(); ++place) {
    const Node& node = builder_.nodes()[place];
    Known next;
    if (place > 0) next = {known_.back().variables, known_.back().weighted, 0, {}};
    next.partners = partners_.size();
    next.weighted += node.primitive && node.primitive->weighted();
    for (const Axis& axis : node.axes) {
      for (int v = kFirstDynamic; v < builder_.variables().count() && axis.size.has_dynamic(); ++v)
        next.variables |= axis.size.exponent(v) != 0 ? 1u << v : 0;
      if (axis.role != Role::kSpatial && !has_axis(partners_, axis.name)) partners_.push_back(axis);
    }
    known_.push_back(next);
    Spending::Step spent;
    if (spending_ && node.primitive) {
      OperandAxes operands;
      for (int input : node.inputs) operands.push_back(&builder_.axes(input));
      spent = spending_->step(node, operands);
    }
    spent_.push_back(spent);
  }
}

unsigned Growth::missing() const {
  unsigned seen = 0;
  for (int value : outline_.loose()) seen |= seen_[static_cast<size_t>(value)];
  return wanted_ & ~seen;
}

// What has been grown from nothing has these names alone; otherwise the builder finds one that is free.
std::string Growth::next_name() const { return base_ > 1 ? "" : "v" + std::to_string(count()); }

bool Growth::put(const Primitive& primitive, const Inputs& operands, Attributes attributes) {
  if (!builder_.add(primitive, operands, std::move(attributes), next_name())) return false;
  outline(builder_.nodes().size() - 1);
  return true;
}

void Growth::take_back() {
  if (known_.size() == builder_.nodes().size()) {
    partners_.resize(known_.back().partners);
    known_.pop_back();
    spent_.pop_back();
  }
  outline_.pop(builder_.nodes().back());
  seen_.pop_back();
  builder_.pop();
}

bool Growth::rewind() {
  if (rewinds_ == kRewinds || count() == base_) return false;
  ++rewinds_;
  for (int i = 0; i < kTakenBack + rewinds_ && count() > base_; ++i) take_back();
  return true;
}

void Growth::retreat(int steps) {
  for (; steps > 0 && count() > base_; --steps) take_back();
  rewinds_ = 0;
}

Kernel Growth::grow(int length, const std::string& name) {
  while (true) {
    const int remaining = length - (count() - 1);
    const bool done = outline_.complete();
    const bool lacks = done && (missing() || count() - 1 < limits_.min_primitives ||
                                known_.back().weighted < limits_.min_weighted || !fits());
    if (done && !lacks && (remaining <= 0 || random_.chance(0.3))) break;
    tight_ = !done && remaining <= outline_.bound();
    const int attempts = tight_ && !missing() ? kTightAttempts : kAttempts;
    bool grown = false;
    for (int attempt = 0; attempt < attempts && remaining > 0 && !grown; ++attempt) {
      urgent_ = missing() && (tight_ || attempt * 2 > attempts);
      grown = try_action(remaining);
    }
    if (grown) continue;
    if (done) {
      if (lacks && rewind()) continue;
      break;
    }
    close_step(remaining);
    if (limits_.concise && superfluous_at_end(builder_.nodes()) && rewind()) continue;
  }
  auto kernel = builder_.finish(name);
  require(static_cast<bool>(kernel), "a grown kernel does not verify");
  return std::move(*kernel);
}

bool Growth::try_action(int remaining) {
  searches_ = random_.chance(kSearched);
  if (const Idiom* idiom = chances_.idiom(random_)) return try_idiom(*idiom, remaining);
  const bool look_around = missing() && (urgent_ || random_.chance(0.15));
  const bool light = known_.back().weighted + outline_.mixes() < limits_.min_weighted &&
                     weight_of(fc_primitive(), limits_.weights) > 0 && random_.chance(0.15);
  const Primitive& primitive = light ? fc_primitive() : look_around ? chances_.window(random_) : chances_.any(random_);
  // One weighted primitive is kept back for the closing contraction.
  if (primitive.weighted() && known_.back().weighted + 1 >= limits_.max_weighted) return false;
  if (primitive.arity > 1) return try_join(primitive, remaining);
  return !(tight_ && primitive.is(kPointwise)) && try_unary(primitive, remaining);
}

// Nearly always: other free sizes may do where simple ones do not.
bool Growth::fits() {
  return !spending_ || (spending_->enough(spent_) && (spending_->fits(spent_) || random_.chance(kBroken)));
}

// A value that is not the result's channels yet is mixed at once, or loses its windows first.
const Growth::Mixing& Growth::mixing_cost(int value, bool narrow) {
  Mixing& cost = known_[static_cast<size_t>(value)].mixing[narrow];
  if (cost.known) return cost;
  cost.known = true;
  const auto spend = [&](const Count& weights) {
    cost.fits = cost.fits && weights.valid();
    if (cost.fits) cost.steps.push_back(spending_->step(weights * twice_places_, weights));
  };
  Count channels, windows;
  for (const Axis& axis : builder_.axes(value)) {
    if (axis.role == Role::kChannel) channels = channels * axis.size;
    if (axis.role == Role::kWindow) windows = windows * axis.size;
  }
  narrow = narrow && windows != Count();
  if (narrow) spend(channels * windows);
  const Count mixed = narrow ? channels : channels * windows, result = builder_.signature().channel().size;
  if (mixed != result) spend(mixed * result);
  return cost;
}

// With the closing ahead: the mixes of loose values that no other one takes in, and the joins. With room for a step more, windows go
// before a mix.
bool Growth::affordable(int slack) {
  ahead_.clear();
  for (int index : outline_.loose()) {
    const Outline::Value& value = outline_.value(index);
    if (value.others() == 0 || outline_.is_mixed(value)) continue;
    const bool taken_in = std::any_of(outline_.loose().begin(), outline_.loose().end(), [&](int other) {
      const Outline::Set larger = outline_.value(other).axes;
      return other != index && !(value.axes & ~larger) && (larger != value.axes || other < index);
    });
    if (taken_in) continue;
    const Mixing& cost = mixing_cost(index, slack > 0);
    if (!cost.fits) return false;
    ahead_.insert(ahead_.end(), cost.steps.begin(), cost.steps.end());
  }
  ahead_.insert(ahead_.end(), outline_.loose().size() - 1, joint_);
  return spending_->affordable(spent_, ahead_);
}

bool Growth::blocked() {
  if (!limits_.concise || outline_.loose().size() != 1) return false;
  const int last = outline_.loose()[0];
  if (outline_.value(last).others() == 0 || outline_.is_mixed(outline_.value(last))) return false;
  const Node mix{&fc_primitive(), {last}, mixing(last), {}, ""};
  return superfluous_at_end(builder_.nodes(), &mix) != nullptr;
}

bool Growth::hopeless(const Primitive& primitive, int value, int remaining, const Attributes* attributes) const {
  if (searches_) return false;
  const Outline::Value& before = outline_.value(value);
  Outline::Value made = before;
  if (primitive.takes(kMade)) {
    made = outline_.widened(before);
  } else if (!primitive.is(kKeepsAxes)) {
    if (!attributes || !(primitive.takes(kArrow) || primitive.takes(kFrom))) return false;
    made = outline_.changed(before, builder_.axes(value), attributes->from, attributes->to);
  }
  const int room = remaining - 1 - (!primitive.is(kPads) && missing());
  return outline_.bound_after(value, made) > room;
}

bool Growth::needless(const Node& next) {
  return limits_.concise && superfluous_at_end(builder_.nodes(), &next) && !random_.chance(kBroken);
}

bool Growth::keep_if_closable(int remaining) {
  const auto keeps = [&] {
    if (static_cast<int>(outline_.loose().size()) > limits_.max_width || outline_.crowded()) return false;
    int room = remaining - 1;
    if (missing()) room -= outline_.complete() && !random_.chance(kBroken) ? 2 : 1;
    const int bound = outline_.bound();
    if (bound > room && !(searches_ && Closing(outline_, limits_.weights).first_step(room))) return false;
    if (limits_.trainable && !fit_small_layer(builder_.nodes().back().axes)) return false;
    learn();
    if (known_.back().weighted + outline_.mixes() > limits_.max_weighted && !random_.chance(kBroken)) return false;
    if (bound > room) return true;
    if (bound == room && !missing() && blocked()) return false;
    return !spending_ || affordable(room - bound) || random_.chance(kBroken);
  };
  if (keeps()) return true;
  take_back();
  return false;
}

bool Growth::try_unary(const Primitive& primitive, int remaining) {
  const bool branch = random_.chance(0.2);
  const int value = branch ? static_cast<int>(random_.below(builder_.nodes().size())) : random_.pick(outline_.loose());
  const bool wider = !outline_.is_loose(value);
  if (wider && static_cast<int>(outline_.loose().size()) >= limits_.max_width) return false;
  const Primitive* before = builder_.nodes()[static_cast<size_t>(value)].primitive;
  if (before && primitive.is(kPointwise) && before->is(kPointwise) && before->arity == 1) return false;
  if (before && primitive.initial == Initial::kOne && before->is(kLinear) && before->weighted()) return false;
  if (hopeless(primitive, value, remaining)) return false;
  propose(primitive, {value});
  if (found_.empty()) return false;
  Attributes attributes = taken();
  if (hopeless(primitive, value, remaining, &attributes)) return false;
  if (needless({&primitive, {value}, attributes, {}, ""})) return false;
  return put(primitive, {value}, std::move(attributes)) && keep_if_closable(remaining);
}

bool Growth::try_join(const Primitive& primitive, int remaining) {
  const int left = random_.pick(outline_.loose());
  const auto offers = [&](int one, int other) {
    propose(primitive, {one, other});
    return !found_.empty();
  };
  // Of what stacks or updates few pairs fit, so those are looked for.
  const bool choosy = !primitive.is(kPointwise) && !primitive.is(kCommutative);
  const Outline::Set own = outline_.value(left).axes;
  partners_of_.clear();
  for (int value = 0; value < count(); ++value) {
    if (value == left) continue;
    const Outline::Set both = own | outline_.value(value).axes;
    const bool fits = primitive.is(kPointwise) ? both == own || both == outline_.value(value).axes
                                               : !choosy || offers(left, value) || offers(value, left);
    if (fits)
      partners_of_.insert(partners_of_.end(), outline_.is_loose(value) ? 3 : 1, value);  // joining is worth more
  }
  if (partners_of_.empty()) return false;
  Inputs operands = {left, random_.pick(partners_of_)};
  if (random_.chance(0.5)) std::swap(operands[0], operands[1]);
  while (static_cast<int>(operands.size()) < primitive.most && random_.chance(0.3))
    operands.push_back(random_.pick(partners_of_));
  propose(primitive, operands.data(), operands.data() + operands.size());
  if (found_.empty() && choosy) {
    std::swap(operands[0], operands[1]);
    propose(primitive, operands.data(), operands.data() + operands.size());
  }
  if (found_.empty()) return false;
  Attributes attributes = taken();
  if (primitive.is(kPointwise) && !searches_) {  // it has the axes of both
    const Outline::Value &one = outline_.value(operands[0]), &other = outline_.value(operands[1]);
    const Outline::Value made{one.axes | other.axes, one.places | other.places};
    if (outline_.bound_after(operands[0], operands[1], made) > remaining - 1) return false;
  }
  if (needless({&primitive, operands, attributes, {}, ""})) return false;
  if (!put(primitive, operands, std::move(attributes))) return false;
  if (builder_.nodes().back().axes.size() > 7) {
    take_back();
    return false;
  }
  return keep_if_closable(remaining);
}

void Growth::propose(const Primitive& primitive, std::initializer_list<int> operands) {
  propose(primitive, operands.begin(), operands.end());
}

void Growth::propose(const Primitive& primitive, const int* first, const int* last) {
  offer_sizes();
  proposal_.operands.clear();
  for (; first != last; ++first) proposal_.operands.push_back(&builder_.axes(*first));
  if (fresh_of_ != count()) proposal_.fresh_prefix = "a" + std::to_string(fresh_of_ = count());
  found_.clear();
  primitive.propose(proposal_, random_, found_);
}

// The sizes that proposals may make.
void Growth::offer_sizes() {
  const Size c = Size::variable(kC), k = Size::variable(kK);
  if (channel_sizes_.empty()) {
    const auto over = [](const Size& size, int64_t divisor) { return size / Size::constant(divisor); };
    channel_sizes_ = {c, k, over(c, 2), over(c, 4), over(k, 2), over(k, 4)};
    group_sizes_ = {Size::constant(2), Size::constant(4), Size::constant(8)};
  }
  if (offered_with_ == known_.back().variables) return;
  offered_with_ = known_.back().variables;
  // At most one variable that nothing uses yet is offered: they are alike.
  int offered = kFirstDynamic;
  while (offered < builder_.variables().count() && known_.back().variables >> offered++ & 1) {
  }
  const auto dynamic = static_cast<size_t>(offered - kFirstDynamic);
  channel_sizes_.resize(6 + std::min((channel_sizes_.size() - 6) / 2, dynamic) * 2);
  group_sizes_.resize(3 + std::min(group_sizes_.size() - 3, dynamic));
  while (group_sizes_.size() < 3 + dynamic) {
    const Size variable = Size::variable(kFirstDynamic + static_cast<int>(group_sizes_.size()) - 3);
    channel_sizes_.push_back(c / variable);
    channel_sizes_.push_back(k / variable);
    group_sizes_.push_back(variable);
  }
}

}  // namespace canvas
