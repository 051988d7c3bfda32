// A list of plain things whose first N stand in place: what std::vector is, without a call for the few entries that most lists have.
#pragma once

#include <algorithm>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <iterator>
#include <stdexcept>
#include <type_traits>

namespace canvas {

template <class T, uint32_t N>
class Few {
  static_assert(std::is_trivially_copyable_v<T> && alignof(T) <= __STDCPP_DEFAULT_NEW_ALIGNMENT__);

 public:
  using value_type = T;
  using size_type = size_t;
  using difference_type = std::ptrdiff_t;
  using reference = T&;
  using const_reference = const T&;
  using iterator = T*;
  using const_iterator = const T*;

  Few() {}
  Few(std::initializer_list<T> items) : Few(items.begin(), items.end()) {}
  explicit Few(size_t count, const T& item = {}) { resize(count, item); }
  template <std::input_iterator Iterator>
  Few(Iterator first, Iterator last) {
    insert(end(), first, last);
  }
  Few(const Few& other) { copy(other); }
  Few(Few&& other) noexcept { take(other); }
  Few& operator=(const Few& other) {
    if (this != &other) {
      count_ = 0;
      copy(other);
    }
    return *this;
  }
  Few& operator=(Few&& other) noexcept {
    if (this != &other) {
      release();
      take(other);
    }
    return *this;
  }
  ~Few() { release(); }

  size_t size() const { return count_; }
  bool empty() const { return count_ == 0; }
  size_t capacity() const { return room_; }
  T* data() { return items_; }
  const T* data() const { return items_; }
  T* begin() { return items_; }
  T* end() { return items_ + count_; }
  const T* begin() const { return items_; }
  const T* end() const { return items_ + count_; }
  auto rbegin() const { return std::make_reverse_iterator(end()); }
  auto rend() const { return std::make_reverse_iterator(begin()); }
  T& operator[](size_t place) { return items_[place]; }
  const T& operator[](size_t place) const { return items_[place]; }
  // Throws std::out_of_range past the end.
  const T& at(size_t place) const {
    if (place >= count_) throw std::out_of_range("a list has no such entry");
    return items_[place];
  }
  T& front() { return items_[0]; }
  const T& front() const { return items_[0]; }
  T& back() { return items_[count_ - 1]; }
  const T& back() const { return items_[count_ - 1]; }

  void reserve(size_t room) {
    if (room > room_) grow(room);
  }
  void clear() { count_ = 0; }
  void resize(size_t count, const T& item = {}) {
    const T added = item;
    reserve(count);
    for (size_t i = count_; i < count; ++i) new (items_ + i) T(added);
    count_ = static_cast<uint32_t>(count);
  }
  void push_back(const T& item) {
    const T added = item;  // which may be one of its own
    if (count_ == room_) grow(size_t{2} * room_);
    new (items_ + count_++) T(added);
  }
  template <class... Parts>
  T& emplace_back(Parts&&... parts) {
    push_back(T{std::forward<Parts>(parts)...});
    return back();
  }
  void pop_back() { --count_; }
  T* insert(const T* before, const T& item) {
    const T added = item;
    return insert(before, &added, &added + 1);
  }
  // The items may not be its own.
  template <std::input_iterator Iterator>
  T* insert(const T* before, Iterator first, Iterator last) {
    const auto place = before - items_;
    const auto behind = static_cast<std::ptrdiff_t>(count_);
    for (; first != last; ++first) push_back(T(*first));
    std::rotate(items_ + place, items_ + behind, end());
    return items_ + place;
  }
  template <class Iterator>
  void assign(Iterator first, Iterator last) {
    clear();
    insert(end(), first, last);
  }
  T* erase(const T* item) { return erase(item, item + 1); }
  T* erase(const T* first, const T* last) {
    T* const at = items_ + (first - items_);
    count_ = static_cast<uint32_t>(std::copy(last, static_cast<const T*>(end()), at) - items_);
    return at;
  }
  template <class Test>
  void erase_if(const Test& test) {
    count_ = static_cast<uint32_t>(std::remove_if(begin(), end(), test) - items_);
  }

  bool operator==(const Few& other) const { return std::equal(begin(), end(), other.begin(), other.end()); }
  auto operator<=>(const Few& other) const {
    return std::lexicographical_compare_three_way(begin(), end(), other.begin(), other.end());
  }

 private:
  T* place() { return reinterpret_cast<T*>(place_); }
  bool in_place() const { return items_ == reinterpret_cast<const T*>(place_); }
  void release() {
    if (!in_place()) [[unlikely]]
      ::operator delete(items_);
  }
  // Of little that stands in place all is copied: a fixed number of bytes is a few moves, any other a call.
  void put(const T* items, uint32_t count) {
    constexpr bool kFixed = N * sizeof(T) <= kLittle;
    count_ = count;
    if (kFixed && count <= N) [[likely]] {
      std::memcpy(static_cast<void*>(items_), items, N * sizeof(T));
    } else if (count > 0) {
      put_many(items);
    }
  }
  [[gnu::noinline]] void put_many(const T* items) {
    std::memcpy(static_cast<void*>(items_), items, count_ * sizeof(T));
  }
  void copy(const Few& other) {
    reserve(other.count_);
    put(other.items_, other.count_);
  }
  // What it has has been released.
  void take(Few& other) {
    if (other.in_place()) [[likely]] {
      items_ = place();
      room_ = N;
      put(other.items_, other.count_);
    } else {
      items_ = other.items_;
      count_ = other.count_;
      room_ = other.room_;
      other.items_ = other.place();
      other.room_ = N;
    }
    other.count_ = 0;
  }
  [[gnu::noinline, gnu::cold]] void grow(size_t room) {
    T* const items = static_cast<T*>(::operator new(room * sizeof(T)));
    std::memcpy(static_cast<void*>(items), items_, count_ * sizeof(T));
    release();
    items_ = items;
    room_ = static_cast<uint32_t>(room);
  }

  static constexpr size_t kLittle = 64;  // bytes

  T* items_ = place();
  uint32_t count_ = 0, room_ = N;
  alignas(T) unsigned char place_[N * sizeof(T)];
};

}  // namespace canvas
