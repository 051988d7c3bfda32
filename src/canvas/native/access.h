// Where the elements of a value lie: a buffer whose axes may have margins of zeros, and affine accesses to it. A view, a window, a stride or
// a slice is an access to what it looks at, and costs nothing; only what is not affine is copied. Used by the native emitter.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "canvas/ir/core.h"

namespace canvas::native {

// An index map of this function finds the lowest number outside, not zero: a maximum passes that over.
inline const std::string kLowest = "lowest";

// One axis of a buffer; `low` and `high` are margins of zeros before and behind its elements.
struct BufferAxis {
  std::string name;
  int64_t extent;
  int64_t low = 0;
  int64_t high = 0;
  bool rigid = false;  // an access runs over it and its neighbour as over one axis: it can have no margins
};

enum class Place {
  kInput,      // one image
  kOutput,     // one image
  kAddend,     // what is added to the output; of one image
  kParameter,  // a trained tensor, as the module stores it
  kConstant,   // made of parameters alone, once
  kScratch,    // of a thread, or shared by those that work on one image
};

struct Buffer {
  Place place;
  std::vector<BufferAxis> axes;  // the last is the fastest
  int parameter = -1;            // its number
  int64_t start = 0;             // in the region of its place, in elements
  bool lowest = false;           // its margins hold the lowest number, not zeros
  bool half = false;             // its elements are bf16, 16 bits each

  bool can_have_margins() const { return place == Place::kConstant || place == Place::kScratch; }
  bool has_margins() const;
  int64_t elements() const;
  // Of each axis, in elements.
  std::vector<int64_t> strides() const;
};

// How an axis of a value runs through its buffer.
struct AxisAccess {
  int64_t extent;
  int axis;            // of the buffer
  int64_t times;       // steps along that axis for one step
  bool whole = false;  // positions outside of it are positions of the buffer's axis outside: margins stand for them
};

struct Access {
  int buffer;
  std::map<std::string, AxisAccess> axes;
  std::vector<int64_t> offset;  // along each axis of the buffer, from its first element
};

class Buffers {
 public:
  int add(Buffer buffer) {
    list_.push_back(std::move(buffer));
    return static_cast<int>(list_.size()) - 1;
  }
  size_t size() const { return list_.size(); }
  Buffer& operator[](int id) { return list_[static_cast<size_t>(id)]; }
  const Buffer& operator[](int id) const { return list_[static_cast<size_t>(id)]; }
  // All elements as they lie.
  Access all(int id) const;
  // Gives constants and scratch their places; returns the elements of both regions. `lives` says from which nest to which each buffer of
  // scratch is in use: those without margins share places, since nothing in them must stay zero.
  std::pair<int64_t, int64_t> arrange(const std::vector<std::pair<int, int>>& lives);

  // The steps in elements for one step of an axis, 0 where the access lacks it; and where its first element lies.
  int64_t stride(const Access& access, const std::string& axis) const;
  int64_t start(const Access& access) const;

  // What `op` (a view, an index map or a pick) makes of its operand, or nothing where that is not affine. May give the buffer margins.
  std::optional<Access> through(const CoreOp& op, const Access& operand, const Values& values);
  // The other way: where the operand of a view lies if its result lies at `result`.
  std::optional<Access> back_through(const CoreOp& view, const CoreOp& operand, const Access& result,
                                     const Values& values);

  // With parts, the last the fastest, in place of an axis.
  Access split(Access access, const std::string& axis, const std::vector<std::pair<std::string, int64_t>>& parts) const;

 private:
  std::optional<Access> join(Access access, const AxisNames& parts, const std::string& axis, int64_t extent);
  std::optional<Access> indexed(const CoreOp& op, Access access, const Values& values);

  std::vector<Buffer> list_;
};

int64_t extent_of(const Axis& axis, const Values& values);

}  // namespace canvas::native
