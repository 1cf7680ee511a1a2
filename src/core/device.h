// A Device: where tensors live and which kernel table computes on them; its allocator and its
// meter.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace um {

struct Kernels;  // kernels/kernels.h
struct Matmul;   // kernels/args/matmul.h
struct GroupedMatmul;
enum class Operands : uint8_t;

/// What one kernel did, summed over its calls.
struct MeterEntry {
  int64_t calls = 0;
  double flops = 0, bytes = 0, seconds = 0;
};

/// Counts every kernel call: useful FLOPs and least bytes always, seconds where something runs.
/// The dry device has nothing but this; others carry one while profiling.
class Meter {
 public:
  void add(std::string_view kernel, double flops, double bytes, double seconds);
  const std::map<std::string, MeterEntry, std::less<>>& entries() const { return entries_; }
  MeterEntry total() const;
  void clear() { entries_.clear(); }

 private:
  std::map<std::string, MeterEntry, std::less<>> entries_;
};

/// Sees the arguments of every matrix product before it runs: what weights are multiplied with.
class ProductObserver {
 public:
  virtual ~ProductObserver() = default;
  virtual void see(const Matmul& product) = 0;
  virtual void see(const GroupedMatmul& product) = 0;
};

/// Size-class caching allocator of 64-byte aligned host memory. Classes are powers of two in four
/// steps (at most 25% slack); freed blocks are kept by class and reused, so that from the third
/// training step on (the second still finds blocks taken by gradients) no tensor needs memory from
/// the system. Thread-safe. With `dry` it only counts.
class Allocator {
 public:
  explicit Allocator(bool dry) : dry_(dry) {}
  Allocator(const Allocator&) = delete;
  Allocator& operator=(const Allocator&) = delete;
  ~Allocator() { release_cached(); }

  /// Memory for at least `bytes`; throws Error when the system has none. Contents are unspecified.
  void* allocate(size_t bytes);
  /// Takes back a block with the size that was asked for.
  void release(void* block, size_t bytes);
  /// Memory of kRecordBytes for what counts a block's users; kept like the blocks, not counted.
  void* take_record();
  void give_record(void* record);
  static constexpr size_t kRecordBytes = 128;
  /// Gives the cached blocks back to the system.
  void release_cached();

  size_t used_bytes() const { return used_; }  ///< handed out now
  size_t peak_bytes() const { return peak_; }  ///< most handed out at once
  size_t system_allocations() const { return system_allocations_; }

  /// The size class of a request: what it really takes.
  static size_t class_bytes(size_t bytes);

 private:
  void free_cached();  ///< with the mutex held

  const bool dry_;
  std::mutex mutex_;
  std::map<size_t, std::vector<void*>> cached_;
  std::vector<void*> records_;
  size_t used_ = 0, peak_ = 0, system_allocations_ = 0;
};

/// Not copyable; tensors refer to their device by pointer, so devices outlive them. The
/// process-wide ones come from `cpu_device()` and its like; a test or a planner may make its own.
class Device {
 public:
  /// `kernels` null makes a dry device: shapes and costs without memory or arithmetic.
  Device(std::string name, const Kernels* kernels)
      : name_(std::move(name)), kernels_(kernels), allocator_(kernels == nullptr) {}
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  const std::string& name() const { return name_; }
  bool dry() const { return kernels_ == nullptr; }
  const Kernels* kernels() const { return kernels_; }
  Allocator& allocator() { return allocator_; }

  /// Attaches a meter (not owned) that sees every kernel launch; null detaches.
  void set_meter(Meter* meter) { meter_ = meter; }
  Meter* meter() const { return meter_; }

  /// Attaches an observer (not owned) of the matrix products that run here; null detaches.
  void set_observer(ProductObserver* observer) { observer_ = observer; }
  ProductObserver* observer() const { return observer_; }

  /// What ops round the operands of large matrix products to: f32 (not at all) unless something set
  /// another. Routers, gates and indexers never are.
  void set_operands(Operands operands) { operands_ = operands; }
  Operands operands() const { return operands_; }

  /// While on, every launch looks for NaN and Inf in what it wrote and throws Error naming the
  /// kernel.
  void set_finite_check(bool on) { finite_check_ = on; }
  bool finite_check() const { return finite_check_; }

 private:
  std::string name_;
  const Kernels* kernels_;
  Allocator allocator_;
  Meter* meter_ = nullptr;
  ProductObserver* observer_ = nullptr;
  bool finite_check_ = false;
  Operands operands_{};
};

/// A meter on a device for as long as this lives, also past an exception.
class Metering {
 public:
  Metering(Device& device, Meter& meter) : device_(device) { device.set_meter(&meter); }
  Metering(const Metering&) = delete;
  Metering& operator=(const Metering&) = delete;
  ~Metering() { device_.set_meter(nullptr); }

 private:
  Device& device_;
};

/// An observer on a device for as long as this lives.
class Observing {
 public:
  Observing(Device& device, ProductObserver& observer) : device_(device) {
    device.set_observer(&observer);
  }
  Observing(const Observing&) = delete;
  Observing& operator=(const Observing&) = delete;
  ~Observing() { device_.set_observer(nullptr); }

 private:
  Device& device_;
};

/// Products of a device with operands of another precision, for as long as this lives.
class Multiplying {
 public:
  Multiplying(Device& device, Operands operands) : device_(device), before_(device.operands()) {
    device.set_operands(operands);
  }
  Multiplying(const Multiplying&) = delete;
  Multiplying& operator=(const Multiplying&) = delete;
  ~Multiplying() { device_.set_operands(before_); }

 private:
  Device& device_;
  const Operands before_;
};

/// The finite check of a device, on for as long as this lives.
class FiniteChecking {
 public:
  explicit FiniteChecking(Device& device) : device_(device) { device.set_finite_check(true); }
  FiniteChecking(const FiniteChecking&) = delete;
  FiniteChecking& operator=(const FiniteChecking&) = delete;
  ~FiniteChecking() { device_.set_finite_check(false); }

 private:
  Device& device_;
};

}  // namespace um
