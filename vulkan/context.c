#define _GNU_SOURCE
#define VOLK_IMPLEMENTATION
#include "vulkan/context.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vulkan/vk_backend.h"

enum { MAX_DEVICES = 32, MAX_FAMILIES = 32 };

/* ---- failures -------------------------------------------------------------------------------- */

const char *vk_result_text(VkResult r)
{
    switch (r) {
    case VK_SUCCESS: return "success";
    case VK_TIMEOUT: return "it did not finish in time";
    case VK_ERROR_OUT_OF_HOST_MEMORY: return "out of host memory";
    case VK_ERROR_OUT_OF_DEVICE_MEMORY: return "out of device memory";
    case VK_ERROR_DEVICE_LOST: return "the device was lost (a driver reset it: see the system's log)";
    case VK_ERROR_LAYER_NOT_PRESENT: return "the validation layer is not installed";
    case VK_ERROR_INCOMPATIBLE_DRIVER: return "the loader found no driver";
    case VK_ERROR_INITIALIZATION_FAILED: return "initialisation failed";
    case VK_ERROR_TOO_MANY_OBJECTS: return "too many objects";
    case VK_ERROR_FRAGMENTED_POOL: return "a pool is fragmented";
    case VK_ERROR_OUT_OF_POOL_MEMORY: return "a pool is full";
    default: return "the driver failed";
    }
}

bool vk_check(struct vk_context *c, VkResult r, const char *what)
{
    if (r >= 0 && r != VK_TIMEOUT) return true;
    if (c->status != FKV_OK) return false;
    const bool memory = r == VK_ERROR_OUT_OF_HOST_MEMORY || r == VK_ERROR_OUT_OF_DEVICE_MEMORY;
    c->status = fkv_fail(&c->error, memory ? FKV_ERROR_MEMORY : FKV_ERROR_DEVICE, "Vulkan device %s: %s: %s (%d)",
                         c->properties.deviceName, what, vk_result_text(r), r);
    return false;
}

/* The validation layer's messages. */
static VKAPI_ATTR VkBool32 VKAPI_CALL on_message(VkDebugUtilsMessageSeverityFlagBitsEXT severity,
                                                 VkDebugUtilsMessageTypeFlagsEXT type,
                                                 const VkDebugUtilsMessengerCallbackDataEXT *data, void *user)
{
    struct vk_context *c = user;
    (void)severity;
    if (!(type & VK_DEBUG_UTILS_MESSAGE_TYPE_VALIDATION_BIT_EXT)) return VK_FALSE;
    fprintf(stderr, "validation: %s: %s\n", data->pMessageIdName ? data->pMessageIdName : "-", data->pMessage);
    if (c->closing) abort();
    if (c->status == FKV_OK) c->status = fkv_fail(&c->error, FKV_ERROR_DEVICE, "validation: %.400s", data->pMessage);
    return VK_FALSE;
}

/* ---- the instance ---------------------------------------------------------------------------- */

/* Features of the layer that the environment asks for. */
static uint32_t validation_features(VkValidationFeatureEnableEXT features[3])
{
    const char *modes = getenv("FASTKV_VULKAN_VALIDATE");
    uint32_t n = 0;
    if (strstr(modes, "sync")) features[n++] = VK_VALIDATION_FEATURE_ENABLE_SYNCHRONIZATION_VALIDATION_EXT;
    if (strstr(modes, "gpu")) {
        features[n++] = VK_VALIDATION_FEATURE_ENABLE_GPU_ASSISTED_EXT;
        features[n++] = VK_VALIDATION_FEATURE_ENABLE_GPU_ASSISTED_RESERVE_BINDING_SLOT_EXT;
    }
    return n;
}

static bool validating(void)
{
    const char *modes = getenv("FASTKV_VULKAN_VALIDATE");
    return modes && *modes;
}

static VkResult create_instance(struct vk_context *c)
{
    VkValidationFeatureEnableEXT features[3];
    const VkApplicationInfo app = {.sType = VK_STRUCTURE_TYPE_APPLICATION_INFO,
                                   .pApplicationName = "fastkv",
                                   .apiVersion = VK_API_VERSION_1_2};
    VkInstanceCreateInfo info = {.sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO, .pApplicationInfo = &app};
    if (!validating()) return vkCreateInstance(&info, NULL, &c->instance);
    const VkDebugUtilsMessengerCreateInfoEXT messenger =
        {.sType = VK_STRUCTURE_TYPE_DEBUG_UTILS_MESSENGER_CREATE_INFO_EXT,
         .messageSeverity = VK_DEBUG_UTILS_MESSAGE_SEVERITY_WARNING_BIT_EXT |
                            VK_DEBUG_UTILS_MESSAGE_SEVERITY_ERROR_BIT_EXT,
         .messageType = VK_DEBUG_UTILS_MESSAGE_TYPE_VALIDATION_BIT_EXT,
         .pfnUserCallback = on_message,
         .pUserData = c};
    const VkValidationFeaturesEXT enable = {.sType = VK_STRUCTURE_TYPE_VALIDATION_FEATURES_EXT,
                                            .pNext = &messenger,
                                            .enabledValidationFeatureCount = validation_features(features),
                                            .pEnabledValidationFeatures = features};
    info.pNext = &enable;
    c->own_buffers = strstr(getenv("FASTKV_VULKAN_VALIDATE"), "gpu") != NULL;
    info.enabledLayerCount = 1;
    info.ppEnabledLayerNames = (const char *[]){"VK_LAYER_KHRONOS_validation"};
    info.enabledExtensionCount = 1;
    info.ppEnabledExtensionNames = (const char *[]){VK_EXT_DEBUG_UTILS_EXTENSION_NAME};
    const VkResult r = vkCreateInstance(&info, NULL, &c->instance);
    if (r != VK_SUCCESS) return r;
    volkLoadInstanceOnly(c->instance);
    return vkCreateDebugUtilsMessengerEXT(c->instance, &messenger, NULL, &c->messenger);
}

static fkv_status open_instance(struct vk_context *c, struct fkv_error *e)
{
    if (volkInitialize() != VK_SUCCESS)
        return fkv_fail(e, FKV_ERROR_UNSUPPORTED,
                        "no Vulkan loader (libvulkan.so.1) on this machine: install the system's Vulkan packages");
    if (volkGetInstanceVersion() < VK_API_VERSION_1_2)
        return fkv_fail(e, FKV_ERROR_UNSUPPORTED, "the Vulkan loader is older than 1.2");
    const VkResult r = create_instance(c);
    if (r != VK_SUCCESS) return fkv_fail(e, FKV_ERROR_UNSUPPORTED, "Vulkan: %s (%d)", vk_result_text(r), r);
    volkLoadInstanceOnly(c->instance);
    return FKV_OK;
}

/* ---- devices --------------------------------------------------------------------------------- */

static uint32_t list_devices(VkInstance instance, VkPhysicalDevice devices[MAX_DEVICES])
{
    uint32_t n = MAX_DEVICES;
    return vkEnumeratePhysicalDevices(instance, &n, devices) >= 0 ? n : 0;
}

/* The first queue family that computes, or -1. */
static int compute_family(VkPhysicalDevice physical)
{
    VkQueueFamilyProperties families[MAX_FAMILIES];
    uint32_t n = MAX_FAMILIES;
    vkGetPhysicalDeviceQueueFamilyProperties(physical, &n, families);
    for (uint32_t i = 0; i < n; i++)
        if (families[i].queueFlags & VK_QUEUE_COMPUTE_BIT) return (int)i;
    return -1;
}

/* What the back end needs and the device lacks; "" when there is nothing. */
static void find_lack(VkPhysicalDevice physical, const VkPhysicalDeviceProperties *p, char lack[96])
{
    const VkPhysicalDeviceLimits *l = &p->limits;
    const char *fault = getenv("FASTKV_VULKAN_FAIL");
    *lack = 0;
    if (fault && strcmp(fault, "lack") == 0)
        snprintf(lack, 96, "FASTKV_VULKAN_FAIL=lack");
    else if (p->apiVersion < VK_API_VERSION_1_2)
        snprintf(lack, 96, "Vulkan 1.2 wanted, it has %u.%u", VK_API_VERSION_MAJOR(p->apiVersion),
                 VK_API_VERSION_MINOR(p->apiVersion));
    else if (compute_family(physical) < 0)
        snprintf(lack, 96, "it has no compute queue");
    else if (l->maxComputeWorkGroupInvocations < VK_GROUP || l->maxComputeWorkGroupSize[0] < VK_GROUP)
        snprintf(lack, 96, "groups of %d invocations wanted, it has %u", VK_GROUP, l->maxComputeWorkGroupInvocations);
    else if (l->maxComputeSharedMemorySize < VK_SHARED_BYTES)
        snprintf(lack, 96, "%d bytes of shared memory wanted, it has %u", VK_SHARED_BYTES,
                 l->maxComputeSharedMemorySize);
    else if (l->maxPerStageDescriptorStorageBuffers < VK_MAX_BINDINGS)
        snprintf(lack, 96, "%d buffers a shader wanted, it has %u", VK_MAX_BINDINGS,
                 l->maxPerStageDescriptorStorageBuffers);
}

static const char *kind_of(VkPhysicalDeviceType type)
{
    switch (type) {
    case VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU: return "discrete GPU";
    case VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU: return "integrated GPU";
    case VK_PHYSICAL_DEVICE_TYPE_VIRTUAL_GPU: return "virtual GPU";
    case VK_PHYSICAL_DEVICE_TYPE_CPU: return "CPU";
    default: return "other";
    }
}

static uint64_t local_bytes(VkPhysicalDevice physical)
{
    VkPhysicalDeviceMemoryProperties m;
    uint64_t most = 0;
    vkGetPhysicalDeviceMemoryProperties(physical, &m);
    for (uint32_t i = 0; i < m.memoryHeapCount; i++)
        if (m.memoryHeaps[i].flags & VK_MEMORY_HEAP_DEVICE_LOCAL_BIT && m.memoryHeaps[i].size > most)
            most = m.memoryHeaps[i].size;
    return most;
}

static void read_properties(VkPhysicalDevice physical, VkPhysicalDeviceProperties *p,
                            VkPhysicalDeviceDriverProperties *driver)
{
    *driver = (VkPhysicalDeviceDriverProperties){.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_DRIVER_PROPERTIES};
    VkPhysicalDeviceProperties2 both = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2};
    vkGetPhysicalDeviceProperties(physical, p);
    if (p->apiVersion < VK_API_VERSION_1_2) return;
    both.pNext = driver;
    vkGetPhysicalDeviceProperties2(physical, &both);
}

static void describe(VkPhysicalDevice physical, struct fkv_vulkan_device *d)
{
    VkPhysicalDeviceProperties p;
    VkPhysicalDeviceDriverProperties driver;
    struct vk_abilities a = {.subgroup_size = 0};
    read_properties(physical, &p, &driver);
    *d = (struct fkv_vulkan_device){.kind = kind_of(p.deviceType),
                                    .memory_bytes = local_bytes(physical),
                                    .shared_bytes = p.limits.maxComputeSharedMemorySize,
                                    .max_range = p.limits.maxStorageBufferRange};
    if (p.apiVersion >= VK_API_VERSION_1_2) vk_find_abilities(physical, &p.limits, &a);
    d->subgroup_size = a.subgroup_size;
    for (int i = 0; i < VK_N_ABILITIES; i++)
        if (a.can[i])
            snprintf(d->used + strlen(d->used), sizeof d->used - strlen(d->used), "%s%s", *d->used ? " " : "",
                     vk_ability_name((enum vk_ability)i));
    snprintf(d->name, sizeof d->name, "%s", p.deviceName);
    snprintf(d->driver, sizeof d->driver, "%.40s %.40s", driver.driverName, driver.driverInfo);
    snprintf(d->api, sizeof d->api, "%u.%u.%u", VK_API_VERSION_MAJOR(p.apiVersion), VK_API_VERSION_MINOR(p.apiVersion),
             VK_API_VERSION_PATCH(p.apiVersion));
    find_lack(physical, &p, d->lack);
}

int fkv_vulkan_list(struct fkv_vulkan_device *devices, int n, char *why)
{
    struct vk_context c = {0};
    struct fkv_error e = {""};
    VkPhysicalDevice physical[MAX_DEVICES];
    uint32_t found = 0;
    if (open_instance(&c, &e) == FKV_OK) {
        found = list_devices(c.instance, physical);
        for (uint32_t i = 0; i < found && i < (uint32_t)n; i++) describe(physical[i], &devices[i]);
        if (found == 0)
            fkv_fail(&e, FKV_ERROR_UNSUPPORTED,
                     "the Vulkan loader found no device: no driver is installed, or no GPU is there");
    }
    if (why) memcpy(why, e.text, sizeof e.text);
    vk_context_close(&c);
    return (int)found;
}

/* Which of two devices is the better one when nobody says. */
static int rank(VkPhysicalDeviceType type)
{
    switch (type) {
    case VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU: return 4;
    case VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU: return 3;
    case VK_PHYSICAL_DEVICE_TYPE_VIRTUAL_GPU: return 2;
    case VK_PHYSICAL_DEVICE_TYPE_CPU: return 0;
    default: return 1;
    }
}

/* The device of that number. */
static fkv_status numbered(struct vk_context *c, const char *device, VkPhysicalDevice *devices, uint32_t n,
                           struct fkv_error *e)
{
    char *end, lack[96];
    const unsigned long number = strtoul(device + strlen("vulkan:"), &end, 10);
    if (end == device + strlen("vulkan:") || *end)
        return fkv_fail(e, FKV_ERROR_ARGUMENT, "device %s: expected vulkan:N, N a number", device);
    if (number >= n)
        return fkv_fail(e, FKV_ERROR_UNSUPPORTED, "device %s: this machine has %u Vulkan devices, numbered from 0",
                        device, n);
    read_properties(devices[number], &c->properties, &c->driver);
    find_lack(devices[number], &c->properties, lack);
    if (*lack) return fkv_fail(e, FKV_ERROR_UNSUPPORTED, "device %s (%s): %s", device, c->properties.deviceName, lack);
    c->physical = devices[number];
    return FKV_OK;
}

static fkv_status choose_device(struct vk_context *c, const char *device, struct fkv_error *e)
{
    VkPhysicalDevice devices[MAX_DEVICES];
    const uint32_t n = list_devices(c->instance, devices);
    if (strncmp(device, "vulkan:", 7) == 0) return numbered(c, device, devices, n, e);
    int best = -1;
    char lack[96] = "the loader found no device";
    for (uint32_t i = 0; i < n; i++) {
        VkPhysicalDeviceProperties p;
        char why[96];
        vkGetPhysicalDeviceProperties(devices[i], &p);
        find_lack(devices[i], &p, why);
        if (*why) memcpy(lack, why, sizeof lack);
        if (*why || rank(p.deviceType) <= best) continue;
        best = rank(p.deviceType);
        c->physical = devices[i];
    }
    if (!c->physical)
        return fkv_fail(e, FKV_ERROR_UNSUPPORTED, "device %s: no Vulkan device that can run this: %s", device,
                        n ? lack : "the loader found none");
    read_properties(c->physical, &c->properties, &c->driver);
    return FKV_OK;
}

static fkv_status open_device(struct vk_context *c, struct fkv_error *e)
{
    const float priority = 1;
    c->family = (uint32_t)compute_family(c->physical);
    const VkDeviceQueueCreateInfo queue = {.sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO,
                                           .queueFamilyIndex = c->family,
                                           .queueCount = 1,
                                           .pQueuePriorities = &priority};
    struct vk_abilities *a = &c->abilities;
    vk_find_abilities(c->physical, &c->properties.limits, a);
    const VkDeviceCreateInfo info = {.sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO,
                                     .pNext = a->features,
                                     .queueCreateInfoCount = 1,
                                     .pQueueCreateInfos = &queue,
                                     .enabledExtensionCount = a->n_extensions,
                                     .ppEnabledExtensionNames = a->extensions};
    const VkResult r = vkCreateDevice(c->physical, &info, NULL, &c->device);
    if (r != VK_SUCCESS)
        return fkv_fail(e, FKV_ERROR_UNSUPPORTED, "Vulkan device %s: it cannot be opened: %s (%d)",
                        c->properties.deviceName, vk_result_text(r), r);
    volkLoadDeviceTable(&c->vk, c->device);
    c->vk.vkGetDeviceQueue(c->device, c->family, 0, &c->queue);
    return FKV_OK;
}

static uint64_t number_in(const char *variable)
{
    const char *text = getenv(variable);
    return text ? strtoull(text, NULL, 10) : 0;
}

static void read_limits(struct vk_context *c)
{
    VkPhysicalDeviceMaintenance3Properties allocation = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MAINTENANCE_3_PROPERTIES};
    VkPhysicalDeviceProperties2 both = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2, .pNext = &allocation};
    const uint64_t cap = number_in("FASTKV_VULKAN_RANGE");
    vkGetPhysicalDeviceProperties2(c->physical, &both);
    vkGetPhysicalDeviceMemoryProperties(c->physical, &c->heaps);
    c->max_range = c->properties.limits.maxStorageBufferRange & ~(uint64_t)(VK_ALIGNMENT - 1);
    c->max_allocation = allocation.maxMemoryAllocationSize;
    if (cap >= VK_SHARED_BYTES && cap < c->max_range) c->max_range = cap & ~(uint64_t)(VK_ALIGNMENT - 1);
    c->fixed_budget = (double)number_in("FASTKV_VULKAN_SUBMIT");
    c->memory_bytes = local_bytes(c->physical);
    const uint64_t memory_cap = number_in("FASTKV_VULKAN_MEMORY");
    if (memory_cap && memory_cap < c->memory_bytes) c->memory_bytes = memory_cap;
    const char *fault = getenv("FASTKV_VULKAN_FAIL");
    if (fault && strncmp(fault, "lost:", 5) == 0) c->lose_after = strtol(fault + 5, NULL, 10);
    c->has_budget = vk_has_extension(c->physical, VK_EXT_MEMORY_BUDGET_EXTENSION_NAME);
}

fkv_status vk_context_open(struct vk_context *c, const char *device, struct fkv_error *e)
{
    fkv_status status = open_instance(c, e);
    if (status == FKV_OK) status = choose_device(c, device, e);
    if (status == FKV_OK) status = open_device(c, e);
    if (status == FKV_OK)
        read_limits(c);
    else
        vk_context_close(c);
    return status;
}

void vk_context_close(struct vk_context *c)
{
    c->closing = true;
    if (c->device) c->vk.vkDestroyDevice(c->device, NULL);
    if (c->messenger) vkDestroyDebugUtilsMessengerEXT(c->instance, c->messenger, NULL);
    if (c->instance) vkDestroyInstance(c->instance, NULL);
    *c = (struct vk_context){0};
}
