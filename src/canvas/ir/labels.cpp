#include "canvas/ir/labels.h"

#include "canvas/base/random.h"

namespace canvas {

namespace {

// A round crosses the whole graph up and down, and rounds end when no label is left to be told apart, or no further one was.
constexpr int kFewestRounds = 3, kMostRounds = 8;
constexpr uint64_t kUnused = 7;  // a variable in no size

// How a step meets an axis; the place in a list is added where the order of lists carries meaning.
enum Meeting : uint64_t { kHas = 41, kListed = 29, kPerIndex = 31, kMade = 53, kNamed = 37, kWindow = 43 };

class Refinement {
 public:
  explicit Refinement(const Program& program)
      : program_(program),
        up_(program.steps.size(), 1),
        down_(program.steps.size(), 1),

        sizes_(program.sizes.size()) {
    labels_.axes.assign(static_cast<size_t>(program.axis_count), 1);
    for (size_t id = 0; id < program.fixed.size(); ++id) labels_.axes[id] = combine(13, id);
    for (int v = 0; v < kMaxVariables; ++v)
      labels_.variables[static_cast<size_t>(v)] = is_dynamic(v) ? kUnused : combine(11, static_cast<uint64_t>(v));
    label_sizes();
  }

  Labels run() {
    size_t before = 0;
    for (int round = 0; round < kMostRounds; ++round) {
      for (size_t i = 0; i < program_.order.size(); ++i) up(i);
      std::fill(down_.begin(), down_.end(), 0);
      down_[at(program_.order.size() - 1)] = 19;
      for (size_t i = program_.order.size(); i-- > 1;) down(i);
      label_axes();
      label_variables();
      const auto [different, all] = told_apart();
      if (different == all || (different == before && round + 1 >= kFewestRounds)) break;
      before = different;
      label_sizes();
    }
    labels_.values.resize(up_.size());
    for (size_t i = 0; i < up_.size(); ++i) labels_.values[i] = whole(i);
    return std::move(labels_);
  }

 private:
  size_t at(size_t i) const { return static_cast<size_t>(program_.order[i]); }
  const Step& step(size_t i) const { return program_.steps[at(i)]; }
  uint64_t whole(size_t value) const { return combine(up_[value], down_[value]); }
  uint64_t size(int place) const { return sizes_[static_cast<size_t>(place)]; }
  uint64_t& axis(int id) { return labels_.axes[static_cast<size_t>(id)]; }

  static void put(uint64_t& code, uint64_t entry, bool in_order) {
    code = in_order ? combine(code, entry) : code + mix64(entry);
  }

  uint64_t attributes(const Step& step) {
    const bool in_order = step.ordered();
    uint64_t from = 0, to = 0, per = 0, items = 0;
    for (int id : step.from) put(from, axis(id), in_order);
    for (const Step::Made& made : step.to) put(to, size(made.size) ^ axis(made.axis), in_order);
    for (int id : step.per) put(per, axis(id), false);
    for (const Step::Item& item : step.items)
      put(items, combine(axis(item.axis) ^ size(item.amount), static_cast<uint64_t>(item.offset)), in_order);
    uint64_t code = static_cast<uint64_t>(step.mode) << 32 | static_cast<uint64_t>(step.dilation);
    for (uint64_t part : {from, to, per, items}) code = combine(code, part);
    return code;
  }

  void up(size_t i) {
    const Step& step = this->step(i);
    uint64_t code = step.code, operands = 0, axes = 0;
    for (int input : step.inputs) put(operands, up_[static_cast<size_t>(input)], !step.is(kCommutative));
    for (int id : step.axes) axes += mix64(axis(id));
    code = combine(combine(code, operands), attributes(step));
    up_[at(i)] = combine(combine(code, axes), down_[at(i)]);
  }

  void down(size_t i) {
    const Step& step = this->step(i);
    const uint64_t user = whole(at(i));
    for (int slot = 0; slot < step.inputs.size(); ++slot)
      down_[static_cast<size_t>(step.inputs[slot])] +=
          mix64(user + (step.is(kCommutative) ? 0 : static_cast<uint64_t>(slot)));
  }

  void label_axes() {
    sums_.assign(labels_.axes.size(), 0);
    const auto meet = [&](int id, uint64_t how) { sums_[static_cast<size_t>(id)] += mix64(how); };
    for (size_t i = 0; i < program_.order.size(); ++i) {
      const Step& step = this->step(i);
      const uint64_t code = whole(at(i));
      const auto place = [&](Meeting how, int k) { return code + how + (step.ordered() ? 64 * (uint64_t(k) + 1) : 0); };
      for (int id : step.axes) meet(id, code ^ kHas);
      for (int k = 0; k < step.from.size(); ++k) meet(step.from[k], place(kListed, k));
      for (int id : step.per) meet(id, code + kPerIndex);
      for (int k = 0; k < step.to.size(); ++k) meet(step.to[k].axis, place(kMade, k) ^ size(step.to[k].size));
      for (int k = 0; k < step.items.size(); ++k) {
        const Step::Item& item = step.items[k];
        meet(item.axis, place(kNamed, k) ^ combine(size(item.amount), static_cast<uint64_t>(item.offset)));
        if (item.made >= 0) meet(item.made, combine(place(kWindow, k) ^ size(item.amount), axis(item.axis)));
      }
    }
    for (int id = 0; id < program_.axis_count; ++id) {
      axis(id) = combine(axis(id), sums_[static_cast<size_t>(id)]);
    }
  }

  void label_variables() {
    std::array<uint64_t, kMaxVariables> sums{};
    const auto mention = [&](int place, uint64_t code) {
      const Size& size = program_.sizes[static_cast<size_t>(place)];
      for (int v = kFirstDynamic; v < kMaxVariables; ++v) {
        if (size.exponent(v) != 0)
          sums[static_cast<size_t>(v)] += mix64(code + static_cast<uint64_t>(size.exponent(v)));
      }
    };
    for (size_t i = 1; i < program_.order.size(); ++i) {
      for (const Step::Made& made : step(i).to) mention(made.size, combine(axis(made.axis), whole(at(i))));
      for (const Step::Item& item : step(i).items) mention(item.amount, combine(axis(item.axis), whole(at(i)) + 1));
    }
    for (size_t v = kFirstDynamic; v < kMaxVariables; ++v) {
      if (sums[v] != 0) labels_.variables[v] = combine(labels_.variables[v], sums[v]);
    }
  }

  // How many different labels there are, and how many labels.
  std::pair<size_t, size_t> told_apart() {
    sums_.assign(labels_.axes.begin(), labels_.axes.end());
    for (int value : program_.order) sums_.push_back(whole(static_cast<size_t>(value)));
    for (uint64_t label : labels_.variables) {
      if (label != kUnused) sums_.push_back(label);
    }
    std::sort(sums_.begin(), sums_.end());
    return {static_cast<size_t>(std::unique(sums_.begin(), sums_.end()) - sums_.begin()), sums_.size()};
  }

  void label_sizes() {
    for (size_t i = 0; i < sizes_.size(); ++i) {
      const Size& size = program_.sizes[i];
      uint64_t sum = 0;
      for (int v = 0; v < kMaxVariables; ++v) {
        if (size.exponent(v) != 0)
          sum += mix64(labels_.variables[static_cast<size_t>(v)] + static_cast<uint64_t>(size.exponent(v)));
      }
      sizes_[i] =
          combine(combine(static_cast<uint64_t>(size.numerator()), static_cast<uint64_t>(size.denominator())), sum);
    }
  }

  const Program& program_;
  Labels labels_;
  std::vector<uint64_t> up_, down_, sizes_, sums_;
};

}  // namespace

Labels labels(const Program& program) { return Refinement(program).run(); }

}  // namespace canvas
