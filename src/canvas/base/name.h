// A name of up to 7 characters in place, which nearly all axes have; of longer ones each is kept once, for good. So names are copied and
// compared as one word, and lists of axes without a call. Whoever puts texts together sees a string.
#pragma once

#include <concepts>
#include <cstdint>
#include <cstring>
#include <ostream>
#include <string>
#include <string_view>
#include <utility>

namespace canvas {

class Name {
 public:
  Name() = default;  // the empty one
  Name(std::string_view text) {
    if (text.size() <= kMost) {
      for (size_t i = 0; i < text.size(); ++i) text_[i] = text[i];
    }
    if (text.size() > kMost || has_zero(text)) keep(text);
  }
  Name(const std::string& text) : Name(std::string_view(text)) {}
  Name(const char* text) : Name(std::string_view(text)) {}

  bool empty() const { return word() == 0; }
  std::string_view view() const {
    return text_[kMost] ? std::string_view(*kept()) : std::string_view(text_, strnlen(text_, kMost));
  }
  std::string str() const { return std::string(view()); }
  operator std::string() const { return str(); }
  // This and a letter more.
  Name then(char letter) const {
    const size_t size = view().size();
    if (size >= kMost || letter == 0) return str() + letter;
    Name longer = *this;
    longer.text_[size] = letter;
    return longer;
  }

  bool operator==(const Name& other) const { return word() == other.word(); }
  // The order of the texts.
  bool operator<(const Name& other) const { return view() < other.view(); }

 private:
  static constexpr size_t kMost = 7;

  uint64_t word() const {
    uint64_t word;
    std::memcpy(&word, text_, sizeof word);
    return word;
  }
  static bool has_zero(std::string_view text) { return text.find('\0') != std::string_view::npos; }
  // The address of a text that is kept stands in the first seven bytes; the last one says so.
  void keep(std::string_view text);
  const std::string* kept() const;

  char text_[8] = {};
};

// Plain texts are compared as such: a name that is not asked for is not kept.
template <class Text>
  requires std::same_as<Text, std::string> || std::same_as<Text, std::string_view>
bool operator==(const Name& name, const Text& text) {
  return name.view().compare(text) == 0;
}
inline bool operator==(const Name& name, const char* text) { return name.view().compare(text) == 0; }
inline std::string operator+(std::string text, const Name& name) { return std::move(text += name.view()); }
inline std::string operator+(const char* text, const Name& name) { return text + name.str(); }
inline std::string operator+(const Name& name, const std::string& text) { return name.str() + text; }
inline std::string operator+(const Name& name, const char* text) { return name.str() + text; }
inline std::string& operator+=(std::string& text, const Name& name) { return text += name.view(); }
inline std::ostream& operator<<(std::ostream& out, const Name& name) { return out << name.view(); }

}  // namespace canvas
