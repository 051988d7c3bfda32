#include "canvas/native/plan.h"

#include <algorithm>
#include <functional>
#include <set>

#include "canvas/base/error.h"
#include "canvas/native/chains.h"
#include "canvas/native/outside.h"
#include "canvas/native/pairs.h"
#include "canvas/native/plain_forms.h"
#include "canvas/native/repeats.h"
#include "canvas/prims/common.h"

namespace canvas::native {

namespace {

constexpr int64_t kFew = 4;  // channels that are read where they lie

Expression load(Access access) { return {Expression::kLoad, std::move(access)}; }

// Functions that cost more than a load.
bool is_dear(const CoreOp& op) {
  static const std::set<std::string> cheap = {"relu", "abs", "neg", "square", "add", "sub", "mul", "max", "min"};
  return op.kind == CoreKind::kMap && cheap.count(op.function) == 0;
}

class Planner {
 public:
  Planner(const CoreProgram& program, const Axes& from, const Axes& to, const Values& values)
      : ops_(program.ops), values_(values), uses_(ops_.size(), 0), constant_(ops_.size(), true), known_(ops_.size()) {
    std::vector<bool> needed(ops_.size(), false);
    needed.back() = true;
    for (size_t id = ops_.size(); id-- > 0;) {
      if (!needed[id]) continue;
      for (int in : ops_[id].inputs) {
        needed[static_cast<size_t>(in)] = true;
        ++uses_[static_cast<size_t>(in)];
      }
    }
    for (size_t id = 0; id < ops_.size(); ++id) {
      if (ops_[id].kind == CoreKind::kInput) constant_[id] = false;
      for (int in : ops_[id].inputs) constant_[id] = constant_[id] && constant_[static_cast<size_t>(in)];
    }
    pairs_ = orders_of_pairs(ops_, constant_, values_);
    input_ = outside(Place::kInput, from);
    output_ = outside(Place::kOutput, to);
    addend_ = outside(Place::kAddend, to);
    takes_planes_ = in_planes(from);
    gives_planes_ = in_planes(to);
  }

  Plan run() {
    const int last = static_cast<int>(ops_.size()) - 1;
    for (int id : beginnings_of_chains(ops_, uses_)) access(id);
    const Access out = plan_.buffers.all(output_), made = gives_planes_ ? fresh(op(last).axes, false) : out;
    store(last, made);
    if (gives_planes_) add(op(last).axes, out, load(made), false);
    leave_out_zeros(plan_);
    return std::move(plan_);
  }

 private:
  const CoreOp& op(int id) const { return ops_[static_cast<size_t>(id)]; }
  int64_t extent(const Axis& axis) const { return extent_of(axis, values_); }

  // Whether channels, and more than a few, are not the last axis. Such input is copied first, such output last: squares of vectors are
  // transposed then, where nests would load and store each element by itself.
  bool in_planes(const Axes& axes) const {
    return axes.size() > 1 && axes.front().role == Role::kChannel && axes.back().role == Role::kSpatial &&
           extent(axes.front()) > kFew;
  }

  // The input or the output.
  int outside(Place place, const Axes& axes) {
    Buffer buffer{place, {}};
    for (const Axis& axis : axes) buffer.axes.push_back({axis.name, extent(axis)});
    return plan_.buffers.add(std::move(buffer));
  }

  bool constant(int id) const { return constant_[static_cast<size_t>(id)]; }

  // A new buffer for a value that is computed, in an order of its own where pairs.h gives one.
  Access fresh(int id) {
    const Axes& axes = op(id).axes;
    const std::vector<Name>& order = pairs_[static_cast<size_t>(id)];
    if (order.empty()) return fresh(axes, constant(id));
    Buffer buffer{Place::kScratch, {}};
    for (const Name& name : order)
      buffer.axes.push_back({name, extent(axes[static_cast<size_t>(find_axis(axes, name))])});
    return plan_.buffers.all(plan_.buffers.add(std::move(buffer)));
  }

  // A new buffer: positions, windows, channels.
  Access fresh(const Axes& axes, bool once) {
    Buffer buffer{once ? Place::kConstant : Place::kScratch, {}};
    for (const Role role : {Role::kSpatial, Role::kWindow, Role::kChannel}) {
      for (const Axis& axis : axes) {
        if (axis.role == role) buffer.axes.push_back({axis.name, extent(axis)});
      }
    }
    return plan_.buffers.all(plan_.buffers.add(std::move(buffer)));
  }

  Access parameter(const CoreOp& op) {
    Buffer buffer{Place::kParameter, {}, static_cast<int>(plan_.parameters.size())};
    for (const Axis& axis : op.axes) buffer.axes.push_back({axis.name, extent(axis)});
    plan_.parameters.push_back(op.name);
    return plan_.buffers.all(plan_.buffers.add(std::move(buffer)));
  }

  // A copy of a value that may have margins.
  Access copied(const Access& access, const Axes& axes, bool once) {
    const Access to = fresh(axes, once);
    add(axes, to, load(access), once);
    return to;
  }

  void add(const Axes& axes, const Access& to, Expression expression, bool once) {
    Nest nest;
    for (const Axis& axis : axes) nest.loops.emplace_back(axis.name, extent(axis));
    nest.to = to;
    nest.expression = std::move(expression);
    nest.once = once;
    plan_.nests.push_back(std::move(nest));
  }

  // Where a value lies; stores it first where it is not an access to another.
  const Access& access(int id) {
    std::optional<Access>& known = known_[static_cast<size_t>(id)];
    if (known) return *known;
    const CoreOp& of = op(id);
    if (of.kind == CoreKind::kInput && of.name == kAddendName) return *(known = plan_.buffers.all(addend_));
    if (of.kind == CoreKind::kInput) {
      const Access given = plan_.buffers.all(input_);
      return *(known = takes_planes_ ? copied(given, of.axes, false) : given);
    }
    if (of.kind == CoreKind::kParameter) return *(known = copied(parameter(of), of.axes, true));
    const bool view =
        of.kind == CoreKind::kView || of.kind == CoreKind::kPick || (of.kind == CoreKind::kIndex && of.over.empty());
    if (view && !prefers_writing(id)) {
      if (auto made = plan_.buffers.through(of, access(of.inputs[0]), values_)) return *(known = std::move(made));
      if (of.kind == CoreKind::kIndex) return *(known = widened(of));
    }
    const Access to = fresh(id);
    store(id, to);
    return *(known = to);
  }

  // A merge of what is computed for it alone: written in place it costs nothing, read it might not be affine.
  bool prefers_writing(int id) const {
    const CoreOp& of = op(id);
    if (of.kind != CoreKind::kView || of.from.size() < 2) return false;
    return computed_for(of.inputs[0]);
  }
  bool computed_for(int id) const {
    const CoreKind kind = op(id).kind;
    return uses_[static_cast<size_t>(id)] == 1 &&
           (kind == CoreKind::kMap || kind == CoreKind::kContract || kind == CoreKind::kReduce);
  }

  // An index map of a copy of its operand whose axes are whole, so that it can have margins.
  Access widened(const CoreOp& of) {
    const int id = of.inputs[0];
    auto& known = own_[{id, of.function == kLowest}];
    if (!known) known = copied(access(id), op(id).axes, constant_[static_cast<size_t>(id)]);
    const auto made = plan_.buffers.through(of, *known, values_);
    require(made.has_value(), "an index map that is not affine");
    return *made;
  }

  // Computes a value and writes it to `to`.
  void store(int id, const Access& to) {
    const CoreOp& of = op(id);
    const bool once = constant_[static_cast<size_t>(id)];
    switch (of.kind) {
      case CoreKind::kMap:
      case CoreKind::kContract:
      case CoreKind::kReduce: {
        Nest nest;
        for (const Axis& axis : of.axes) nest.loops.emplace_back(axis.name, extent(axis));
        nest.once = once;
        nest.to = to;
        std::vector<Parts> merged;
        nest.expression = expression(id, nest, merged, true);
        for (const Parts& made : merged) {
          for_each_access(nest, [&](Access& access) {
            if (access.axes.count(made.axis) > 0) access = plan_.buffers.split(access, made.axis, made.parts);
          });
        }
        plan_.nests.push_back(std::move(nest));
        return;
      }
      case CoreKind::kView: {
        const int in = of.inputs[0];
        const auto place = plan_.buffers.back_through(of, op(in), to, values_);
        if (place && computed_for(in)) return store(in, *place);
        if (place) return add(op(in).axes, *place, load(access(in)), once);
        const auto read = plan_.buffers.through(of, access(in), values_);
        require(read.has_value(), "a view that is affine neither way");
        return add(of.axes, to, load(*read), once);
      }
      case CoreKind::kIndex:
        return of.over.empty() ? add(of.axes, to, load(access(id)), once) : neighbours(of, to, once);
      case CoreKind::kPick: return repeats(id, to, once);
      case CoreKind::kPut: return put(of, to, once);
      default: return add(of.axes, to, load(access(id)), once);
    }
  }

  // An axis that a nest runs through by those that were merged into it.
  struct Parts {
    std::string axis;
    std::vector<std::pair<std::string, int64_t>> parts;
  };

  // Makes the nest run through what a merge merges, where its operand is computed for it alone.
  bool merges(const CoreOp& of, Nest& nest, std::vector<Parts>& merged) const {
    if (of.kind != CoreKind::kView || of.to.size() != 1 || !computed_for(of.inputs[0])) return false;
    const auto named = [&](const std::string& name) {
      return std::find_if(nest.loops.begin(), nest.loops.end(), [&](const auto& loop) { return loop.first == name; });
    };
    Parts made{of.to[0].name, {}};
    for (const Name& name : of.from) {
      const bool summed =
          std::any_of(nest.reduced.begin(), nest.reduced.end(), [&](const auto& loop) { return loop.first == name; });
      if (summed || named(name) != nest.loops.end()) return false;
      const Axes& axes = op(of.inputs[0]).axes;
      made.parts.emplace_back(name, extent(axes[static_cast<size_t>(find_axis(axes, name))]));
    }
    const auto place = named(made.axis);
    if (place == nest.loops.end()) return false;
    nest.loops.insert(nest.loops.erase(place), made.parts.begin(), made.parts.end());
    merged.push_back(std::move(made));
    return true;
  }

  // The tree of a value, computed within `nest`; at most one contraction or reduction becomes the nest's sum.
  Expression expression(int id, Nest& nest, std::vector<Parts>& merged, bool root) {
    const CoreOp& of = op(id);
    size_t axes = nest.loops.size();  // of the value that is stored
    for (const Parts& parts : merged) axes -= parts.parts.size() - 1;
    const bool again = of.axes.size() < axes && is_dear(of);  // it would be computed for each step of others
    const bool inside = root || (uses_[static_cast<size_t>(id)] == 1 && !known_[static_cast<size_t>(id)] && !again &&
                                 constant_[static_cast<size_t>(id)] == nest.once);
    if (inside && of.kind == CoreKind::kMap) {
      Expression made{Expression::kApply, {}, of.function};
      for (int in : of.inputs) made.of.push_back(expression(in, nest, merged, false));
      return made;
    }
    if (inside && merges(of, nest, merged)) return expression(of.inputs[0], nest, merged, false);
    const bool sums = of.kind == CoreKind::kContract || of.kind == CoreKind::kReduce;
    const bool all = of.axes.size() == nest.loops.size() &&
                     std::all_of(nest.loops.begin(), nest.loops.end(),
                                 [&](const auto& loop) { return has_axis(of.axes, loop.first); });
    if (inside && sums && nest.factors.empty() && all) {
      std::vector<std::string> seen;
      for (
          int in :
          of.inputs)  // what pairs of positions meet comes first: then all that is done with the pairs can be one block
        if (pairs_[static_cast<size_t>(in)].empty()) access(in);
      for (int in : of.inputs) {
        nest.factors.push_back(access(in));
        for (const Axis& axis : op(in).axes) {
          if (has_axis(of.axes, axis.name) || std::find(seen.begin(), seen.end(), axis.name) != seen.end()) continue;
          seen.push_back(axis.name);
          nest.reduced.emplace_back(axis.name, extent(axis));
        }
      }
      nest.maximum = of.function == "max";
      if (of.function != "mean") return {Expression::kCore};
      Expression mean{Expression::kShare};
      for (const auto& [name, size] : nest.reduced) mean.divisor *= static_cast<double>(size);
      mean.of.push_back({Expression::kCore});
      return mean;
    }
    return load(access(id));
  }

  // A shift of each part of a channel axis towards its own neighbour: a copy for each.
  void neighbours(const CoreOp& of, const Access& to, bool once) {
    const int64_t channels = extent(of.axes[static_cast<size_t>(find_axis(of.axes, of.over))]);
    int64_t count = 1;
    for (const IndexItem& item : of.items) count *= item.window;
    const int number = ++parts_;
    for (int64_t q = 0; q < count; ++q) {
      const int64_t begin = (q * channels + count - 1) / count, end = ((q + 1) * channels + count - 1) / count;
      if (begin == end) continue;
      CoreOp shift = of;
      shift.over.clear();
      int64_t rest = q;
      for (size_t i = shift.items.size(); i-- > 0;) {
        IndexItem& item = shift.items[i];
        item.offset += item.dilation * static_cast<int>(rest % item.window - item.window / 2);
        rest /= item.window;
        item.window = 1;
      }
      auto from = plan_.buffers.through(shift, access(of.inputs[0]), values_);
      if (!from) from = widened(shift);
      const auto part = [&](Access access) {
        AxisAccess& axis = access.axes.at(of.over);
        access.offset[static_cast<size_t>(axis.axis)] += begin * axis.times;
        axis.extent = end - begin;
        return access;
      };
      add(of.axes, part(to), load(part(*from)), once);
      for (auto& [name, size] : plan_.nests.back().loops) size = name == of.over ? end - begin : size;
      plan_.nests.back().parts = number;
    }
  }

  // Elements along axes that stand several times: a loop over them and one over the times; what is left over at the end by itself.
  void repeats(int id, const Access& to, bool once) {
    const CoreOp& of = op(id);
    const CoreOp& from = op(of.inputs[0]);
    CoreOp picked = of;  // what is picked alone
    picked.items.clear();
    std::vector<IndexItem> repeated;
    for (const IndexItem& item : of.items) (has_axis(of.axes, item.axis) ? repeated : picked.items).push_back(item);
    const auto source = plan_.buffers.through(picked, access(of.inputs[0]), values_);
    require(source.has_value(), "a pick that is not affine");
    std::function<void(size_t, Nest)> next = [&](size_t number, Nest nest) {
      if (number == repeated.size()) return plan_.nests.push_back(std::move(nest));
      const IndexItem& item = repeated[number];
      const int64_t times = item.stride.evaluate(values_).value_or(1);
      const int64_t all = extent(of.axes[static_cast<size_t>(find_axis(of.axes, item.axis))]);
      const int64_t blocks = all / times, left = all % times;
      for (const bool last : {false, true}) {
        if (last ? left == 0 : blocks == 0) continue;
        Nest part = nest;
        for (auto& [name, size] : part.loops) size = name == item.axis ? (last ? 1 : blocks) : size;
        const std::string inner = item.axis + "'";
        part.loops.emplace_back(inner, last ? left : times);
        const AxisAccess wide = part.to.axes.at(item.axis);
        part.to.axes[inner] = {last ? left : times, wide.axis, wide.times};
        part.to.axes[item.axis].times *= times;
        Access& read = part.expression.access;
        const AxisAccess narrow = read.axes.at(item.axis);
        if (last) {
          part.to.offset[static_cast<size_t>(wide.axis)] += blocks * times * wide.times;
          read.offset[static_cast<size_t>(narrow.axis)] += blocks * narrow.times;
        }
        next(number + 1, std::move(part));
      }
    };
    Nest nest;
    for (const Axis& axis : of.axes) nest.loops.emplace_back(axis.name, extent(axis));
    nest.to = to;
    nest.expression = load(*source);
    nest.once = once;
    require(from.axes.size() >= of.axes.size(), "a pick that makes axes");
    next(0, std::move(nest));
  }

  void put(const CoreOp& of, const Access& to, bool once) {
    const IndexItem& item = of.items[0];
    const std::string& along = item.made.empty() ? item.axis : item.made;
    const auto slice = [&](int64_t at) {
      Access part = to;
      const AxisAccess axis = part.axes.at(along);
      part.offset[static_cast<size_t>(axis.axis)] += at * axis.times;
      part.axes.erase(along);
      return part;
    };
    const Axes others = without(of.axes, {along});
    if (item.made.empty()) add(of.axes, to, load(access(of.inputs[0])), once);
    for (size_t i = item.made.empty() ? 1 : 0; i < of.inputs.size(); ++i) {
      const int in = of.inputs[i];
      const Access place = slice(item.made.empty() ? item.offset : static_cast<int64_t>(i));
      if (computed_for(in) && op(in).axes.size() == others.size()) {
        store(in, place);
      } else {
        add(others, place, load(access(in)), once);
      }
    }
  }

  std::vector<CoreOp> ops_;
  const Values& values_;
  std::vector<int> uses_;
  std::vector<bool> constant_;
  std::vector<std::optional<Access>> known_;
  std::vector<std::vector<Name>> pairs_;
  std::map<std::pair<int, bool>, std::optional<Access>> own_;
  int input_ = 0, output_ = 0, addend_ = 0;
  bool takes_planes_ = false, gives_planes_ = false;
  int parts_ = 0;  // numbers of parts so far
  Plan plan_;
};

}  // namespace

Plan make_plan(const CoreProgram& program, const Axes& from, const Axes& to, const Values& values) {
  const CoreProgram plain = plain_forms(without_repeats(program));
  return Planner(plain, from, to, values).run();
}

}  // namespace canvas::native
