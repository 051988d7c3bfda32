#include "canvas/native/batch.h"

#include <algorithm>
#include <set>

#include "canvas/native/blocks.h"

namespace canvas::native {

namespace {

constexpr int64_t kFew = 12 * 1024;   // weights that stay in the cache from one image to the next
constexpr int64_t kRoom = 72 * 1024;  // elements that are read of all images together: half of a core's second cache
constexpr int64_t kFar = 256 * 1024;  // weights that it cannot hold: where they are fetched anew, for twice as many
constexpr int64_t kMuch = 4 * kRoom;  // elements that are used of all images together

// The largest number of images that divides `most` and, `each` elements for one, needs no more than `room`.
int64_t images_in(int64_t room, int64_t each, int64_t most) {
  int64_t images = std::max<int64_t>(1, std::min(most, room / std::max<int64_t>(each, 1)));
  while (most % images != 0) --images;
  return images;
}

class Batch {
 public:
  Batch(Plan& plan, int64_t most) : plan_(plan), most_(most), uses_(plan.buffers.size()) {
    while (first_ < plan.nests.size() && plan.nests[first_].once) ++first_;
    for (size_t i = first_; i < plan.nests.size(); ++i) {
      for_each_access(plan.nests[i],
                      [&](const Access& access) { uses_[static_cast<size_t>(access.buffer)].insert(i); });
    }
  }

  void run() {
    choose();
    for (size_t id = 0; id < uses_.size(); ++id) widen(static_cast<int>(id));
    std::vector<Block> runs;
    for (size_t i = first_; i < plan_.nests.size(); ++i) {
      Nest& nest = plan_.nests[i];
      const int64_t images = images_[i];
      if (images > 1) nest.loops.insert(nest.loops.begin(), {"images", images});
      nest.around.insert(nest.around.begin(), "blocks");
      if (runs.empty() || runs.back().images != images) runs.push_back({i, i, {most_ / images}, 0, images});
      runs.back().last = i;
    }
    for (Block& block : plan_.blocks) block.depth = 1;
    plan_.blocks.insert(plan_.blocks.begin(), runs.begin(), runs.end());
  }

 private:
  // How many images each nest computes together.
  void choose() {
    images_.assign(plan_.nests.size(), 1);
    int64_t now = 1;
    for (size_t i = first_; i < plan_.nests.size(); ++i) {
      const Nest& nest = plan_.nests[i];
      int64_t weights = 0, read = 0, used = 0;
      for_each_access(nest, [&](const Access& access) {
        if (plan_.buffers[access.buffer].place != Place::kConstant) used += elements(access);
      });
      for (const Access& factor : nest.factors)
        (plan_.buffers[factor.buffer].place == Place::kConstant ? weights : read) += elements(factor);
      if (weights > kFew) now = images_in(weights > kFar ? 2 * kRoom : kRoom, read, most_);
      now = std::min(now, images_in(kMuch, used, most_));
      if (in_block(i)) now = 1;
      images_[i] = now;
    }
    for (const Block& block : plan_.blocks) {  // a block is within one run
      int64_t least = most_;
      for (size_t i = block.first; i <= block.last; ++i) least = std::min(least, images_[i]);
      for (size_t i = block.first; i <= block.last; ++i) images_[i] = least;
    }
  }

  int64_t elements(const Access& access) const {
    int64_t count = 1;
    for (const auto& [name, axis] : access.axes) count *= axis.extent;
    return std::min(count, plan_.buffers[access.buffer].elements());
  }

  bool in_block(size_t nest) const {
    return std::any_of(plan_.blocks.begin(), plan_.blocks.end(),
                       [&](const Block& block) { return block.first <= nest && nest <= block.last; });
  }

  // Gives a buffer room for the images that are in use at once.
  void widen(int id) {
    Buffer& buffer = plan_.buffers[id];
    const auto& uses = uses_[static_cast<size_t>(id)];
    const bool outside = buffer.place != Place::kScratch;
    if (buffer.place == Place::kConstant || buffer.place == Place::kParameter || (uses.empty() && !outside)) return;
    const bool passes = outside || run_of(*uses.begin()) != run_of(*uses.rbegin());
    const int64_t images = passes ? most_ : images_[*uses.begin()];
    if (images == 1) return;
    buffer.axes.insert(buffer.axes.begin(), {"images", images});
    for (size_t nest : uses) {
      for_each_access(plan_.nests[nest], [&](Access& access) {
        if (access.buffer != id) return;
        access.offset.insert(access.offset.begin(), 0);
        for (auto& [name, axis] : access.axes) ++axis.axis;
        const int64_t own = images_[nest];
        if (own > 1) access.axes["images"] = {own, 0, 1};
        if (passes) access.axes["blocks"] = {most_ / own, 0, own};
      });
    }
  }

  size_t run_of(size_t nest) const {
    while (nest > first_ && images_[nest - 1] == images_[nest]) --nest;
    return nest;
  }

  Plan& plan_;
  const int64_t most_;
  std::vector<std::set<size_t>> uses_;  // nests, by buffer
  std::vector<int64_t> images_;         // by nest
  size_t first_ = 0;                    // that is of images
};

}  // namespace

void add_images(Plan& plan, int64_t most) {
  if (most > 1) Batch(plan, most).run();
}

}  // namespace canvas::native
