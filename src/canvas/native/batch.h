// Several images at a time: runs of nests that load many weights compute as many images together as stay in the cache. Between blocks and loops.
#pragma once

#include "canvas/native/plan.h"

namespace canvas::native {

// Each buffer gets an axis of images, of up to `most`; each run of nests a block around it that counts images in its own steps.
void add_images(Plan& plan, int64_t most);

}  // namespace canvas::native
