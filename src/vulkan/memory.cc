// SPDX-License-Identifier: Apache-2.0
#include "vulkan/memory.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/check.h"

namespace tandem::vulkan {
namespace {

constexpr size_t kSlots = 3;
// Up to here a memcpy over the bus beats recording, submitting and awaiting a copy.
constexpr size_t kDirectCopy = size_t{16} << 10;

constexpr VkBufferUsageFlags kUsage =
    VK_BUFFER_USAGE_STORAGE_BUFFER_BIT | VK_BUFFER_USAGE_TRANSFER_SRC_BIT |
    VK_BUFFER_USAGE_TRANSFER_DST_BIT | VK_BUFFER_USAGE_SHADER_DEVICE_ADDRESS_BIT;

constexpr VkMemoryPropertyFlags kLocal = VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT;
constexpr VkMemoryPropertyFlags kHost =
    VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;
constexpr VkMemoryPropertyFlags kCached = VK_MEMORY_PROPERTY_HOST_CACHED_BIT;

// Wanted properties, best first.
std::vector<VkMemoryPropertyFlags> preferences(Placement placement, bool zero_copy) {
  switch (placement) {
    case Placement::kDevice:
      if (zero_copy) return {kLocal | kHost, kHost};
      return {kLocal};
    case Placement::kMapped: return {kLocal | kHost, kHost | kCached, kHost};
    case Placement::kStaging: return {kHost | kCached, kHost};
  }
  return {};
}

size_t default_budget(const VulkanDeviceInfo& info) {
  size_t sum = 0;
  for (const MemoryHeap& heap : info.heaps)
    if (heap.device_local || info.uma) sum += heap.budget;
  return sum;
}

size_t page_size() { return static_cast<size_t>(sysconf(_SC_PAGESIZE)); }

}  // namespace

Buffer& Buffer::operator=(Buffer&& other) noexcept {
  std::swap(owner_, other.owner_);
  std::swap(buffer_, other.buffer_);
  std::swap(memory_, other.memory_);
  std::swap(address_, other.address_);
  std::swap(size_, other.size_);
  std::swap(host_, other.host_);
  std::swap(imported_, other.imported_);
  return *this;
}

Buffer::~Buffer() {
  if (owner_ != nullptr) owner_->free(*this);
}

Memory::Memory(Device& device, const MemoryOptions& options) : device_(device) {
  const VulkanDeviceInfo& info = device.info();
  zero_copy_ = options.zero_copy && info.uma && info.host_import &&
               page_size() % info.host_import_alignment == 0;
  budget_ = default_budget(info);
  if (options.budget != 0) budget_ = std::min(budget_, options.budget);
  max_allocation_ = info.max_allocation;
  if (options.largest != 0) max_allocation_ = std::min(max_allocation_, options.largest);
  vkGetPhysicalDeviceMemoryProperties(device.physical(), &types_);
  VkCommandPoolCreateInfo pool{};
  pool.sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO;
  pool.flags = VK_COMMAND_POOL_CREATE_RESET_COMMAND_BUFFER_BIT;
  pool.queueFamilyIndex = device.queue_family();
  VK_TRY(vkCreateCommandPool(device.handle(), &pool, nullptr, &pool_));
  slots_.resize(kSlots);
}

Memory::~Memory() {
  for (Slot& slot : slots_) {
    if (slot.busy) vkWaitForFences(device_.handle(), 1, &slot.fence, VK_TRUE, UINT64_MAX);
    vkDestroyFence(device_.handle(), slot.fence, nullptr);
  }
  slots_.clear();
  vkDestroyCommandPool(device_.handle(), pool_, nullptr);
}

uint64_t Memory::used_by_driver() const {
  if (!device_.info().memory_budget) return 0;
  VkPhysicalDeviceMemoryBudgetPropertiesEXT budget{};
  budget.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_BUDGET_PROPERTIES_EXT;
  VkPhysicalDeviceMemoryProperties2 memory{};
  memory.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_PROPERTIES_2;
  memory.pNext = &budget;
  vkGetPhysicalDeviceMemoryProperties2(device_.physical(), &memory);
  uint64_t sum = 0;
  for (uint32_t i = 0; i < types_.memoryHeapCount; ++i)
    if ((types_.memoryHeaps[i].flags & VK_MEMORY_HEAP_DEVICE_LOCAL_BIT) != 0)
      sum += budget.heapUsage[i];
  return sum;
}

std::string Memory::why_not_fit(size_t size, std::string_view purpose) const {
  const size_t left = budget_ - std::min(used_, budget_);
  if (size <= left) return {};
  constexpr double kMiB = 1 << 20;
  return fmt::format(
      "{} need {:.0f} MiB of memory on {}, of which {:.0f} MiB are left of {:.0f} ({:.0f} MiB are "
      "missing); use a shorter context (-c), a smaller model or another device, or raise "
      "TANDEM_VULKAN_BUDGET if it is set",
      purpose, static_cast<double>(size) / kMiB, device_.info().name,
      static_cast<double>(left) / kMiB, static_cast<double>(budget_) / kMiB,
      static_cast<double>(size - left) / kMiB);
}

std::vector<uint32_t> memory_types(const VkPhysicalDeviceMemoryProperties& types, uint32_t allowed,
                                   Placement placement, bool zero_copy) {
  std::vector<uint32_t> found;
  for (const VkMemoryPropertyFlags wanted : preferences(placement, zero_copy))
    for (uint32_t i = 0; i < types.memoryTypeCount; ++i)
      if ((allowed >> i & 1) != 0 && (types.memoryTypes[i].propertyFlags & wanted) == wanted &&
          std::find(found.begin(), found.end(), i) == found.end())
        found.push_back(i);
  return found;
}

void Memory::create_buffer(Buffer& buffer, size_t size, const void* next) {
  VkBufferCreateInfo info{};
  info.sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO;
  info.pNext = next;
  info.size = size;
  info.usage = kUsage;
  info.sharingMode = VK_SHARING_MODE_EXCLUSIVE;
  buffer.owner_ = this;
  buffer.size_ = size;
  VK_TRY(vkCreateBuffer(device_.handle(), &info, nullptr, &buffer.buffer_));
}

uint32_t Memory::bind(Buffer& buffer, uint32_t allowed, Placement placement, const void* next) {
  VkMemoryRequirements needs;
  vkGetBufferMemoryRequirements(device_.handle(), buffer.buffer_, &needs);
  VkMemoryAllocateFlagsInfo flags{};
  flags.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_FLAGS_INFO;
  flags.pNext = next;
  flags.flags = VK_MEMORY_ALLOCATE_DEVICE_ADDRESS_BIT;
  VkMemoryAllocateInfo info{};
  info.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO;
  info.pNext = &flags;
  // Imported pages are taken as they are; their size was rounded to the page by the caller.
  info.allocationSize = next != nullptr ? buffer.size_ : needs.size;
  const std::vector<uint32_t> types =
      memory_types(types_, allowed & needs.memoryTypeBits, placement, zero_copy_);
  if (types.empty())
    throw Error(ErrorCode::kUnsupported,
                fmt::format("{} has no memory of the kind needed", device_.info().name));
  VkResult result = VK_SUCCESS;
  for (const uint32_t type : types) {
    info.memoryTypeIndex = type;
    result = vkAllocateMemory(device_.handle(), &info, nullptr, &buffer.memory_);
    // The heap may be full, and another not.
    if (result != VK_ERROR_OUT_OF_DEVICE_MEMORY) break;
  }
  if (result == VK_ERROR_OUT_OF_DEVICE_MEMORY)
    throw Error(ErrorCode::kOutOfMemory,
                fmt::format("{} has no room for another {} bytes; use a shorter context (-c), a "
                            "smaller model or another device, or close other programs",
                            device_.info().name, buffer.size_));
  check_result(result, "vkAllocateMemory");
  used_ += buffer.size_;
  VK_TRY(vkBindBufferMemory(device_.handle(), buffer.buffer_, buffer.memory_, 0));
  VkBufferDeviceAddressInfo address{};
  address.sType = VK_STRUCTURE_TYPE_BUFFER_DEVICE_ADDRESS_INFO;
  address.buffer = buffer.buffer_;
  buffer.address_ = vkGetBufferDeviceAddress(device_.handle(), &address);
  return info.memoryTypeIndex;
}

Buffer Memory::allocate(size_t size, Placement placement, std::string_view purpose) {
  if (const std::string no = why_not_fit(size, purpose); !no.empty())
    throw Error(ErrorCode::kOutOfMemory, no);
  if (size > max_allocation())
    throw Error(ErrorCode::kUnsupported,
                fmt::format("{} need one allocation of {} bytes and {} allows {} at most; use "
                            "another device, or shorter steps (-ub) and a shorter context (-c)",
                            purpose, size, device_.info().name, max_allocation()));
  Buffer buffer;
  create_buffer(buffer, std::max<size_t>(size, 16), nullptr);
  const uint32_t type = bind(buffer, ~0u, placement, nullptr);
  if ((types_.memoryTypes[type].propertyFlags & kHost) == kHost) {
    void* host = nullptr;
    VK_TRY(vkMapMemory(device_.handle(), buffer.memory_, 0, VK_WHOLE_SIZE, 0, &host));
    buffer.host_ = static_cast<std::byte*>(host);
  }
  return buffer;
}

Buffer Memory::import_pages(std::byte* pages, size_t size) {
  VkMemoryHostPointerPropertiesEXT properties{};
  properties.sType = VK_STRUCTURE_TYPE_MEMORY_HOST_POINTER_PROPERTIES_EXT;
  constexpr auto kHandle = VK_EXTERNAL_MEMORY_HANDLE_TYPE_HOST_ALLOCATION_BIT_EXT;
  VK_TRY(vkGetMemoryHostPointerPropertiesEXT(device_.handle(), kHandle, pages, &properties));
  VkExternalMemoryBufferCreateInfo external{};
  external.sType = VK_STRUCTURE_TYPE_EXTERNAL_MEMORY_BUFFER_CREATE_INFO;
  external.handleTypes = kHandle;
  Buffer buffer;
  buffer.imported_ = true;
  create_buffer(buffer, size, &external);
  VkImportMemoryHostPointerInfoEXT import{};
  import.sType = VK_STRUCTURE_TYPE_IMPORT_MEMORY_HOST_POINTER_INFO_EXT;
  import.handleType = kHandle;
  import.pHostPointer = pages;
  bind(buffer, properties.memoryTypeBits, Placement::kStaging, &import);
  buffer.host_ = pages;
  return buffer;
}

void Memory::free(Buffer& buffer) noexcept {
  vkDestroyBuffer(device_.handle(), buffer.buffer_, nullptr);
  if (buffer.memory_ == VK_NULL_HANDLE) return;
  used_ -= buffer.size_;
  vkFreeMemory(device_.handle(), buffer.memory_, nullptr);
}

Memory::Slot& Memory::slot(size_t index) {
  Slot& slot = slots_[index];
  if (slot.fence == VK_NULL_HANDLE) {
    slot.staging = allocate(upload_chunk(), Placement::kStaging, "staging buffers");
    VkCommandBufferAllocateInfo commands{};
    commands.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO;
    commands.commandPool = pool_;
    commands.level = VK_COMMAND_BUFFER_LEVEL_PRIMARY;
    commands.commandBufferCount = 1;
    VK_TRY(vkAllocateCommandBuffers(device_.handle(), &commands, &slot.commands));
    VkFenceCreateInfo fence{};
    fence.sType = VK_STRUCTURE_TYPE_FENCE_CREATE_INFO;
    VK_TRY(vkCreateFence(device_.handle(), &fence, nullptr, &slot.fence));
  }
  wait(slot);
  return slot;
}

void Memory::wait(Slot& slot) {
  if (!slot.busy) return;
  VK_TRY(vkWaitForFences(device_.handle(), 1, &slot.fence, VK_TRUE, UINT64_MAX));
  VK_TRY(vkResetFences(device_.handle(), 1, &slot.fence));
  slot.busy = false;
}

void Memory::staged_copy(Slot& slot, VkBuffer from, VkBuffer to, const VkBufferCopy& region) {
  ++staged_copies_;
  staged_bytes_ += region.size;
  VkCommandBufferBeginInfo begin{};
  begin.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO;
  begin.flags = VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT;
  VK_TRY(vkBeginCommandBuffer(slot.commands, &begin));
  // Against programs before and after on the same queue, and towards the host's reads.
  VkMemoryBarrier2 before{};
  before.sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER_2;
  before.srcStageMask = VK_PIPELINE_STAGE_2_COMPUTE_SHADER_BIT | VK_PIPELINE_STAGE_2_COPY_BIT;
  before.srcAccessMask = VK_ACCESS_2_SHADER_WRITE_BIT | VK_ACCESS_2_TRANSFER_WRITE_BIT;
  before.dstStageMask = VK_PIPELINE_STAGE_2_COPY_BIT;
  before.dstAccessMask = VK_ACCESS_2_TRANSFER_READ_BIT | VK_ACCESS_2_TRANSFER_WRITE_BIT;
  VkMemoryBarrier2 after{};
  after.sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER_2;
  after.srcStageMask = VK_PIPELINE_STAGE_2_COPY_BIT;
  after.srcAccessMask = VK_ACCESS_2_TRANSFER_WRITE_BIT;
  after.dstStageMask = VK_PIPELINE_STAGE_2_COMPUTE_SHADER_BIT | VK_PIPELINE_STAGE_2_HOST_BIT;
  after.dstAccessMask =
      VK_ACCESS_2_SHADER_READ_BIT | VK_ACCESS_2_SHADER_WRITE_BIT | VK_ACCESS_2_HOST_READ_BIT;
  VkDependencyInfo dependency{};
  dependency.sType = VK_STRUCTURE_TYPE_DEPENDENCY_INFO;
  dependency.memoryBarrierCount = 1;
  dependency.pMemoryBarriers = &before;
  vkCmdPipelineBarrier2(slot.commands, &dependency);
  vkCmdCopyBuffer(slot.commands, from, to, 1, &region);
  dependency.pMemoryBarriers = &after;
  vkCmdPipelineBarrier2(slot.commands, &dependency);
  VK_TRY(vkEndCommandBuffer(slot.commands));
  VkSubmitInfo submit{};
  submit.sType = VK_STRUCTURE_TYPE_SUBMIT_INFO;
  submit.commandBufferCount = 1;
  submit.pCommandBuffers = &slot.commands;
  VK_TRY(vkQueueSubmit(device_.queue(), 1, &submit, slot.fence));
  slot.busy = true;
}

void Memory::copy_in(const Buffer& target, size_t offset, std::span<const std::byte> bytes) {
  if (target.host() != nullptr && bytes.size() <= kDirectCopy) {
    std::memcpy(target.host() + offset, bytes.data(), bytes.size());
    ++staged_copies_;
    staged_bytes_ += bytes.size();
    return;
  }
  for (size_t done = 0; done < bytes.size();) {
    const size_t size = std::min(upload_chunk(), bytes.size() - done);
    Slot& s = slot(next_slot_++ % kSlots);
    std::memcpy(s.staging.host(), bytes.data() + done, size);
    staged_copy(s, s.staging.handle(), target.handle(), {0, offset + done, size});
    done += size;
  }
  finish_uploads();
}

void Memory::copy_out(const Buffer& source, size_t offset, std::span<std::byte> bytes) {
  if (source.host() != nullptr && bytes.size() <= kDirectCopy) {
    std::memcpy(bytes.data(), source.host() + offset, bytes.size());
    ++staged_copies_;
    staged_bytes_ += bytes.size();
    return;
  }
  for (size_t done = 0; done < bytes.size();) {
    const size_t size = std::min(upload_chunk(), bytes.size() - done);
    Slot& s = slot(next_slot_++ % kSlots);
    staged_copy(s, source.handle(), s.staging.handle(), {offset + done, 0, size});
    wait(s);
    std::memcpy(bytes.data() + done, s.staging.host(), size);
    done += size;
  }
}

void Memory::upload(const Buffer& target, size_t offset, size_t size, const Fill& fill) {
  for (size_t done = 0; done < size;) {
    const size_t chunk = std::min(upload_chunk(), size - done);
    if (zero_copy_) {
      fill({target.host() + offset + done, chunk}, done);
    } else {
      Slot& s = slot(next_slot_++ % kSlots);
      fill({s.staging.host(), chunk}, done);
      staged_copy(s, s.staging.handle(), target.handle(), {0, offset + done, chunk});
    }
    done += chunk;
  }
}

void Memory::finish_uploads() {
  for (Slot& slot : slots_) wait(slot);
}

PageImport::PageImport(Memory& memory, SharedMemory& shared) : memory_(memory), shared_(shared) {}

// One piece for memory that fits one allocation; otherwise one piece a view, since a view must be
// contiguous for the device and an allocation has a largest size.
PageImport::Piece& PageImport::piece(size_t offset, size_t size) {
  for (Piece& p : pieces_)
    if (p.offset <= offset && offset + size <= p.offset + p.buffer.size()) return p;
  const size_t page = page_size();
  const size_t whole = (shared_.size() + page - 1) / page * page;
  size_t first = 0, end = whole;
  if (whole > memory_.max_allocation()) {
    first = memory_.zero_copy() ? offset / page * page : offset;
    end = memory_.zero_copy() ? (offset + size + page - 1) / page * page : offset + size;
  }
  if (!memory_.zero_copy())
    for (const Piece& p : pieces_)
      TANDEM_CHECK(end <= p.offset || first >= p.offset + p.buffer.size(),
                   "views [%zu, %zu) and [%zu, %zu) overlap in memory larger than one allocation",
                   first, end, p.offset, p.offset + p.buffer.size());
  Buffer buffer = memory_.zero_copy()
                      ? memory_.import_pages(shared_.data() + first, end - first)
                      : memory_.allocate(end - first, Placement::kMapped, "shared buffers");
  pieces_.push_back({first, std::move(buffer)});
  return pieces_.back();
}

VkDeviceAddress PageImport::address(const TensorView& view) {
  const Piece& p = piece(view.offset, view.size());
  return p.buffer.address() + (view.offset - p.offset);
}

void PageImport::copy(bool in, size_t offset, size_t size) {
  if (size == 0) return;
  const Piece& p = piece(offset, size);
  const std::span<std::byte> host = shared_.host().subspan(offset, size);
  if (in)
    memory_.copy_in(p.buffer, offset - p.offset, host);
  else
    memory_.copy_out(p.buffer, offset - p.offset, host);
}

// Imported pages are coherent: submitting and waiting order the accesses.
void PageImport::acquire(Access access, size_t offset, size_t size) {
  if (!zero_copy() && access == Access::kRead) copy(true, offset, size);
}

void PageImport::release(Access access, size_t offset, size_t size) {
  if (!zero_copy() && access == Access::kWrite) copy(false, offset, size);
}

}  // namespace tandem::vulkan
