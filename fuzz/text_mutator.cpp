// libFuzzer's custom mutator of the targets that read kernel texts: edits whole words, puts in calls of the primitives in the table, or
// changes the kernel as the search does, so that most of what it makes is nearly a kernel. Its dictionary is the table.
#include <algorithm>
#include <cctype>
#include <cstring>
#include <stdexcept>

#include "canvas/prims/registry.h"
#include "canvas/sample/mutation.h"
#include "canvas/text/parser.h"
#include "canvas/text/printer.h"
#include "inputs.h"

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);

namespace canvas::fuzz {

namespace {

using Words = std::vector<std::string>;

constexpr const char* kSymbols[] = {"(", ")", "[", "]", ",", ":", "=", "*", "/", "+", "-", "->", "#", "\n  ", " "};
constexpr const char* kNumbers[] = {"0",    "1",    "2",          "3",          "4",
                                    "5",    "63",   "64",         "1023",       "1024",
                                    "4096", "1025", "2147483647", "2147483648", "9223372036854775807"};

bool in_name(char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_'; }

// All words of the language: names and keys of the table of primitives, the variables that layers set, symbols, numbers.
const Words& dictionary() {
  static const Words words = [] {
    Words all = {"kernel", "return", "dilation", "x", "r", "g"};
    for (const Primitive* primitive : primitives()) {
      all.emplace_back(primitive->name);
      if (primitive->grammar & kPer) all.emplace_back(primitive->per_key);
      all.insert(all.end(), primitive->modes.begin(), primitive->modes.end());
    }
    all.insert(all.end(), kStaticNames.begin(), kStaticNames.end());
    all.insert(all.end(), std::begin(kSymbols), std::end(kSymbols));
    all.insert(all.end(), std::begin(kNumbers), std::end(kNumbers));
    return all;
  }();
  return words;
}

Words cut(const std::string& text) {
  Words words;
  for (size_t at = 0; at < text.size();) {
    size_t end = at + 1;
    if (in_name(text[at])) {
      while (end < text.size() && in_name(text[end])) ++end;
    } else if (text.compare(at, 2, "->") == 0) {
      ++end;
    }
    words.push_back(text.substr(at, end - at));
    at = end;
  }
  return words;
}

std::string joined(const Words& words) {
  std::string text;
  for (const std::string& word : words) text += word;
  return text;
}

class Editor {
 public:
  Editor(Words words, Random& random) : words_(std::move(words)), random_(random) {
    for (const std::string& word : words_) {
      if (in_name(word[0])) names_.push_back(word);
    }
    if (names_.empty()) names_ = {"x", "C"};
  }

  std::string run() {
    for (size_t edits = 1 + random_.below(4); edits > 0 && !words_.empty(); --edits) edit();
    return joined(words_);
  }

 private:
  void edit() {
    const size_t at = random_.below(words_.size());
    const auto place = words_.begin() + static_cast<std::ptrdiff_t>(at);
    switch (random_.below(8)) {
      case 0: *place = random_.pick(dictionary()); break;
      case 1: words_.insert(place, random_.pick(dictionary())); break;
      case 2: words_.erase(place, place + static_cast<std::ptrdiff_t>(length_from(at))); break;
      case 3: {  // some words again elsewhere
        const Words copy(place, place + static_cast<std::ptrdiff_t>(length_from(at)));
        words_.insert(words_.begin() + static_cast<std::ptrdiff_t>(random_.below(words_.size())), copy.begin(),
                      copy.end());
        break;
      }
      case 4: std::swap(words_[at], words_[random_.below(words_.size())]); break;
      case 5: change(at, &Editor::another_name); break;
      case 6: change(at, &Editor::another_primitive); break;
      default: change(at, &Editor::wrapped);
    }
  }

  size_t length_from(size_t at) { return 1 + random_.below(std::min<size_t>(12, words_.size() - at)); }

  // Applies a change to the next word that is a name, cyclically.
  void change(size_t at, std::string (Editor::*made)(const std::string&)) {
    for (size_t i = 0; i < words_.size(); ++i) {
      std::string& word = words_[(at + i) % words_.size()];
      if (!in_name(word[0])) continue;
      word = (this->*made)(word);
      return;
    }
  }

  std::string another_name(const std::string&) { return random_.pick(names_); }
  std::string another_primitive(const std::string&) { return random_.pick(primitives())->name; }
  std::string list() {
    return "[" + random_.pick(names_) + (random_.chance(0.3) ? ", " + random_.pick(names_) : "") + "]";
  }

  // A value as the operand of a call that its primitive's grammar allows.
  std::string wrapped(const std::string& value) {
    const Primitive& primitive = *random_.pick(primitives());
    std::string text = std::string(primitive.name) + "(" + value;
    for (int i = 1; i < primitive.arity; ++i) text += ", " + random_.pick(names_);
    if (primitive.grammar & kModes) text += std::string(", ") + random_.pick(primitive.modes) + ": " + list();
    if (primitive.grammar & (kFrom | kArrow) && !(primitive.grammar & kModes)) text += ", " + list();
    if (primitive.grammar & kArrow) text += " -> " + list();
    if (primitive.grammar & kItems) text += ", " + random_.pick(names_) + ": " + random_.pick(dictionary());
    if (primitive.grammar & kPer && random_.chance(0.3)) text += std::string(", ") + primitive.per_key + ": " + list();
    if (primitive.grammar & kDilation && random_.chance(0.3)) text += ", dilation: " + random_.pick(dictionary());
    return text + ")";
  }

  Words words_;
  Words names_;  // that the text has
  Random& random_;
};

// The kernel changed as the search changes one, printed; empty where the text is no kernel or this draw made none.
std::string mutated_kernel(const std::string& text, Random& random) {
  try {
    const Kernel parent = parse(text);
    if (!is_convolution(parent.signature())) return "";
    const Limits limits;
    const Chances chances(limits);
    const auto child = mutated(parent, {limits, chances, nullptr}, random);
    return child ? print(*child) : "";
  } catch (const std::exception&) {
    return "";  // the targets do the same where it counts
  }
}

}  // namespace

}  // namespace canvas::fuzz

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size, unsigned seed) {
  using namespace canvas::fuzz;
  canvas::Random random(seed);
  const std::string all(data, data + size);
  const size_t end = std::min(all.find('\0'), size);
  std::string text = all.substr(0, end), choices = all.substr(end);  // the latter with the NUL
  if (text.rfind("kernel", 0) != 0 || random.chance(0.2)) return LLVMFuzzerMutate(data, size, max_size);
  if (random.chance(0.15)) {
    constexpr size_t kMost = 256;
    const size_t length = choices.empty() ? 0 : std::min(choices.size() - 1, kMost);
    choices.resize(1 + kMost);
    choices.resize(1 + LLVMFuzzerMutate(reinterpret_cast<uint8_t*>(choices.data()) + 1, length, kMost));
  } else {
    const std::string changed = random.chance(0.3) ? mutated_kernel(text, random) : "";
    text = changed.empty() ? Editor(cut(text), random).run() : changed;
  }
  text += choices;
  text.resize(std::min(text.size(), max_size));
  std::memcpy(data, text.data(), text.size());
  return text.size();
}
