#include "canvas/sample/idioms.h"

#include <algorithm>

#include "canvas/prims/registry.h"
#include "canvas/sample/closing.h"

namespace canvas {

namespace {

constexpr const Primitive& (*kActivation)() = nullptr;

const std::vector<Idiom>& all_idioms() {
  static const std::vector<Idiom> all = {
      {"filters by channel", 2, {{unfold_primitive, Wanted::kAny, 0}, {fc_primitive, Wanted::kPerChannel, 1}}},
      {"filters by group, shuffled",
       1,
       {{split_primitive, Wanted::kAny, 0},
        {unfold_primitive, Wanted::kAny, 1},
        {fc_primitive, Wanted::kPerGroup, 2},
        {merge_primitive, Wanted::kAny, 3}}},
      {"a gate by a summary",
       1,
       {{fold_primitive, Wanted::kPositions, 0},
        {fc_primitive, Wanted::kOwn, 1},
        {sigmoid_primitive, Wanted::kAny, 2},
        {mul_primitive, Wanted::kAny, 0, 3}}},
      {"a gate by a summary, through few channels",
       2,
       {{fold_primitive, Wanted::kPositions, 0},
        {fc_primitive, Wanted::kNarrow, 1},
        {kActivation, Wanted::kAny, 2},
        {fc_primitive, Wanted::kLike, 3, 0},
        {sigmoid_primitive, Wanted::kAny, 4},
        {mul_primitive, Wanted::kAny, 0, 5}}},
      {"a gate by its surroundings",
       2,
       {{unfold_primitive, Wanted::kPositions, 0},
        {fc_primitive, Wanted::kPerChannel, 1},
        {unfold_primitive, Wanted::kPositions, 2},
        {fc_primitive, Wanted::kPerChannel, 3},
        {fc_primitive, Wanted::kOwn, 4},
        {mul_primitive, Wanted::kAny, 0, 5}}},
      {"a gate beside it",
       1,
       {{fc_primitive, Wanted::kNarrow, 0},
        {fc_primitive, Wanted::kLike, 0, 1},
        {kActivation, Wanted::kAny, 2},
        {mul_primitive, Wanted::kAny, 1, 3}}},
      {"filters made from each position",
       1,
       {{fc_primitive, Wanted::kNarrow, 0},
        {kActivation, Wanted::kAny, 1},
        {split_primitive, Wanted::kAny, 0},
        {unfold_primitive, Wanted::kPositions, 3},
        {fc_primitive, Wanted::kLike, 2, 4},
        {contract_primitive, Wanted::kAny, 5, 4}}},
      {"filters on a part",
       1,
       {{split_primitive, Wanted::kAny, 0},
        {select_primitive, Wanted::kAny, 1},
        {unfold_primitive, Wanted::kAny, 2},
        {fc_primitive, Wanted::kOwn, 3},
        {update_primitive, Wanted::kAny, 1, 4}}},
      {"filters between few channels",
       1,
       {{fc_primitive, Wanted::kNarrow, 0},
        {unfold_primitive, Wanted::kPositions, 1},
        {fc_primitive, Wanted::kNarrow, 2}}},
      {"one axis after the other",
       2,
       {{unfold_primitive, Wanted::kOneAxis, 0},
        {subsample_primitive, Wanted::kOneAxis, 1},
        {fc_primitive, Wanted::kAny, 2},
        {unfold_primitive, Wanted::kOneAxis, 3},
        {subsample_primitive, Wanted::kOneAxis, 4},
        {fc_primitive, Wanted::kAny, 5}}},
  };
  return all;
}

}  // namespace

std::vector<const Idiom*> idioms(const Limits& limits) {
  std::vector<const Idiom*> found;
  for (const Idiom& idiom : all_idioms()) {
    const bool allowed = std::all_of(idiom.steps.begin(), idiom.steps.end(), [&](const IdiomStep& step) {
      return !step.primitive || weight_of(step.primitive(), limits.weights) > 0;
    });
    if (allowed) found.push_back(&idiom);
  }
  return found;
}

}  // namespace canvas
