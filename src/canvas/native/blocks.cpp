#include "canvas/native/blocks.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <optional>
#include <set>

namespace canvas::native {

namespace {

constexpr int64_t kCache =
    24 *
    1024;  // elements of scratch that may stay as they are: what two first caches hold (measured: 1.5 % better than four times that)
constexpr size_t kMostLoops = 3;
constexpr int64_t kRows = 8;  // positions that share weights in a tile, for which a block is not cut smaller
constexpr int64_t kManyWeights = 2048;

using LoopOf = std::pair<size_t, std::string>;  // a nest's loop

// Loops of different nests that step through the same axis of a buffer together, as classes.
class Classes {
 public:
  void join(const LoopOf& a, const LoopOf& b) { parent_[root(a)] = root(b); }
  LoopOf root(const LoopOf& loop) {
    const auto found = parent_.find(loop);
    if (found == parent_.end() || found->second == loop) return loop;
    return parent_[loop] = root(found->second);
  }

 private:
  std::map<LoopOf, LoopOf> parent_;
};

class Blocker {
 public:
  Blocker(Plan& plan, int64_t cache) : plan_(plan), nests_(plan.nests), cache_(cache) {
    uses_.resize(plan.buffers.size());
    for (size_t i = 0; i < nests_.size(); ++i) {
      for_each_access(nests_[i],
                      [&](Access& access) { uses_[static_cast<size_t>(access.buffer)].push_back({i, &access}); });
    }
    for (size_t id = 0; id < uses_.size(); ++id) find_shared(static_cast<int>(id));
  }

  void run() {
    for (;;) {
      Choice best;
      for (const auto& [root, loops] : classes()) look(loops, best);
      if (best.saved == 0) return;
      take(best);
    }
  }

 private:
  struct Use {
    size_t nest;
    Access* access;
  };
  struct Choice {
    size_t first = 0, last = 0;
    std::map<size_t, std::string> loops;  // by nest
    int64_t saved = 0;
    std::optional<size_t> block;  // that it goes into
  };

  Buffer& buffer(int id) { return plan_.buffers[id]; }

  // The name of the one axis of an access that steps through all of a buffer's axis, alone; empty where there is none.
  std::string sole(const Use& use, int axis, int64_t extent) const {
    std::string name;
    for (const auto& [own, how] : use.access->axes) {
      if (how.axis != axis) continue;
      if (!name.empty() || how.times != 1 || how.extent != extent) return "";
      name = own;
    }
    if (use.access->offset[static_cast<size_t>(axis)] != 0) return "";
    for (const auto& [loop, size] : nests_[use.nest].loops)
      if (loop == name && size == extent) return name;
    return "";
  }

  // The axes of a buffer along which each that uses it runs alike.
  void find_shared(int id) {
    const Buffer& own = buffer(id);
    if (own.place != Place::kScratch || uses_[static_cast<size_t>(id)].empty()) return;
    for (const BufferAxis& axis : own.axes)
      if (axis.low + axis.high > 0) return;
    for (size_t axis = 0; axis < own.axes.size(); ++axis) {
      if (own.axes[axis].extent == 1 || own.axes[axis].rigid) continue;
      std::vector<LoopOf> loops;
      for (const Use& use : uses_[static_cast<size_t>(id)])
        loops.emplace_back(use.nest, sole(use, static_cast<int>(axis), own.axes[axis].extent));
      if (std::any_of(loops.begin(), loops.end(), [](const LoopOf& loop) { return loop.second.empty(); })) continue;
      if (axis + 1 < own.axes.size() && own.axes[axis + 1].rigid) continue;
      for (const LoopOf& loop : loops) joined_.join(loop, loops[0]);
      shared_.insert(loops.begin(), loops.end());
      droppable_.push_back({id, static_cast<int>(axis), loops[0]});
    }
  }

  // All classes: their loops.
  std::map<LoopOf, std::set<LoopOf>> classes() {
    std::map<LoopOf, std::set<LoopOf>> result;
    for (const LoopOf& loop : shared_) result[joined_.root(loop)].insert(loop);
    return result;
  }

  // Whether a nest can have the loop around it.
  bool can_leave(const LoopOf& loop) const {
    const Nest& nest = nests_[loop.first];
    if (std::find(nest.around.begin(), nest.around.end(), loop.second) != nest.around.end()) return false;
    for (const Access& factor : nest.factors) {  // constant factors are packed for the loops within
      if (plan_.buffers[factor.buffer].place == Place::kConstant && factor.axes.count(loop.second) > 0) return false;
    }
    bool neighbours = false;  // which vectors take together
    for_each_access(
        nest, [&](const Access& access) { neighbours = neighbours || plan_.buffers.stride(access, loop.second) == 1; });
    if (neighbours) return false;
    return true;
  }

  // Runs of neighbouring nests that all have one loop of a class.
  void look(const std::set<LoopOf>& loops, Choice& best) {
    std::map<size_t, std::string> by_nest;
    std::set<size_t> twice;
    for (const LoopOf& loop : loops) {
      if (!can_leave(loop) || !by_nest.emplace(loop.first, loop.second).second) twice.insert(loop.first);
    }
    for (size_t nest : twice) by_nest.erase(nest);
    for (auto from = by_nest.begin(); from != by_nest.end();) {
      auto to = from;
      Choice choice;
      size_t last = from->first;
      while (to != by_nest.end() && to->first <= last + 1 && block_of(to->first) == block_of(from->first) &&
             in_step(to->first, from->first, joined_.root(LoopOf(*from)))) {
        choice.loops.insert(*to);
        last = (to++)->first;
      }
      choice.first = from->first;
      choice.last = last;
      choice.block = block_of(choice.first);
      from = to;
      if (choice.block) {  // another loop around all of a block, or none
        const Block& block = plan_.blocks[*choice.block];
        if (block.first != choice.first || block.last != choice.last || block.extents.size() >= kMostLoops) continue;
      }
      if (choice.first == choice.last || footprint(choice) <= cache_) continue;
      if (steps_together(choice, extent_of(choice)) == extent_of(choice)) continue;
      for (const auto& [id, axis] : dropped(choice)) {
        const int64_t all = buffer(id).elements();
        choice.saved += all - all / buffer(id).axes[static_cast<size_t>(axis)].extent;
      }
      if (choice.saved > best.saved) best = choice;
    }
  }

  // Whether all that a nest reads of what nests from `first` on write is written in the same step of the loop.
  bool in_step(size_t nest, size_t first, const LoopOf& root) {
    for (size_t id = 0; id < uses_.size(); ++id) {
      const bool used =
          std::any_of(uses_[id].begin(), uses_[id].end(), [&](const Use& use) { return use.nest == nest; });
      if (buffer(static_cast<int>(id)).place != Place::kScratch || !used) continue;
      const bool written = std::any_of(nests_.begin() + static_cast<std::ptrdiff_t>(first),
                                       nests_.begin() + static_cast<std::ptrdiff_t>(nest),
                                       [&](const Nest& other) { return other.to.buffer == static_cast<int>(id); });
      const bool together = std::any_of(droppable_.begin(), droppable_.end(), [&](const Droppable& one) {
        return one.buffer == static_cast<int>(id) && joined_.root(one.loop) == root;
      });
      if (written && !together) return false;
    }
    return true;
  }

  std::optional<size_t> block_of(size_t nest) const {
    for (size_t i = 0; i < plan_.blocks.size(); ++i)
      if (plan_.blocks[i].first <= nest && nest <= plan_.blocks[i].last) return i;
    return std::nullopt;
  }

  // Elements of scratch that nests of a run pass on within it.
  int64_t footprint(const Choice& choice) {
    int64_t sum = 0;
    for (size_t id = 0; id < uses_.size(); ++id)
      if (buffer(static_cast<int>(id)).place == Place::kScratch && within(id, choice))
        sum += buffer(static_cast<int>(id)).elements();
    return sum;
  }

  bool within(size_t id, const Choice& choice) const {
    return !uses_[id].empty() && std::all_of(uses_[id].begin(), uses_[id].end(), [&](const Use& use) {
      return choice.first <= use.nest && use.nest <= choice.last;
    });
  }

  // Buffers that need no axis for the run's loop, and these axes.
  std::vector<std::pair<int, int>> dropped(const Choice& choice) {
    std::vector<std::pair<int, int>> result;
    const LoopOf root = joined_.root({choice.first, choice.loops.at(choice.first)});
    for (const auto& [id, axis, loop] : droppable_) {
      const bool own = joined_.root(loop) == root && within(static_cast<size_t>(id), choice);
      if (own && outermost(id) == axis) result.emplace_back(id, axis);
    }
    return result;
  }

  // The buffer's first axis of more than one element: a loop over a later one would cut what lies together.
  int outermost(int id) {
    const std::vector<BufferAxis>& axes = buffer(id).axes;
    const auto found = std::find_if(axes.begin(), axes.end(), [](const BufferAxis& axis) { return axis.extent > 1; });
    return found == axes.end() || found + 1 == axes.end() ? -1 : static_cast<int>(found - axes.begin());
  }

  int64_t extent_of(const Choice& choice) const {
    for (const auto& [name, size] : nests_[choice.first].loops)
      if (name == choice.loops.at(choice.first)) return size;
    return 1;
  }

  // How many steps of a loop a nest needs to share its weights among enough positions.
  int64_t steps_for_weights(const Nest& nest, const std::string& own) const {
    int64_t rows = 1, weights = 0;
    for (const Access& factor : nest.factors) {
      const Buffer& of = plan_.buffers[factor.buffer];
      weights += of.place == Place::kConstant ? of.elements() : 0;
    }
    if (weights < kManyWeights) return 1;
    for (const auto& [name, size] : nest.loops) {
      const bool outside = name == own || std::find(nest.around.begin(), nest.around.end(), name) != nest.around.end();
      const bool weighs = std::any_of(nest.factors.begin(), nest.factors.end(), [&, loop = name](const Access& factor) {
        return plan_.buffers[factor.buffer].place == Place::kConstant && factor.axes.count(loop) > 0;
      });
      if (!outside && !weighs) rows *= size;
    }
    return (kRows + rows - 1) / rows;
  }

  // So many steps of the loop in one step of its block: several share what a tile loads, as long as the cache holds what they pass on. All of
  // them where weights would be shared by too few.
  int64_t steps_together(const Choice& choice, int64_t extent) {
    int64_t kept = footprint(choice), each = 1, least = 1;
    for (const auto& [id, axis] : dropped(choice)) {
      kept -= buffer(id).elements();
      each += buffer(id).elements() / extent;
    }
    for (const auto& [number, name] : choice.loops) least = std::max(least, steps_for_weights(nests_[number], name));
    int64_t steps = std::clamp<int64_t>((cache_ - kept) / each, 1, extent / 2);
    while (extent % steps != 0) --steps;
    while (steps < extent && (steps < least || extent % steps != 0)) ++steps;
    return steps;
  }

  void take(const Choice& choice) {
    const int64_t extent = extent_of(choice);
    const int64_t steps = steps_together(choice, extent);
    if (!choice.block) plan_.blocks.push_back({choice.first, choice.last, {}});
    plan_.blocks[choice.block.value_or(plan_.blocks.size() - 1)].extents.push_back(extent / steps);
    std::set<int> passed;
    for (const auto& [id, axis] : dropped(choice)) {
      buffer(id).axes[static_cast<size_t>(axis)].extent = steps;
      passed.insert(id);
    }
    for (const auto& [number, name] : choice.loops) {
      Nest& nest = nests_[number];
      const std::string within = name + "|";
      nest.around.push_back(name);
      if (steps > 1) nest.loops.emplace_back(within, steps);
      for_each_access(nest, [&, own = name](Access& access) {
        const auto found = access.axes.find(own);
        if (found == access.axes.end()) return;
        const AxisAccess whole = found->second;
        access.axes.erase(found);
        if (steps > 1) access.axes[within] = {steps, whole.axis, whole.times};
        if (passed.count(access.buffer) == 0) access.axes[own] = {extent / steps, whole.axis, whole.times * steps};
      });
    }
  }

  struct Droppable {
    int buffer, axis;
    LoopOf loop;
  };

  Plan& plan_;
  std::vector<Nest>& nests_;
  std::vector<std::vector<Use>> uses_;
  Classes joined_;
  std::set<LoopOf> shared_;
  std::vector<Droppable> droppable_;
  const int64_t cache_;
};

}  // namespace

void make_blocks(Plan& plan, const Target& target) {
  // Nests of parameters alone first: they are not part of an image.
  std::stable_partition(plan.nests.begin(), plan.nests.end(), [](const Nest& nest) { return nest.once; });
  Blocker(plan, target.choice("cache", kCache)).run();
}

}  // namespace canvas::native
